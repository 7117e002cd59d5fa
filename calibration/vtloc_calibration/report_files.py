"""Files that the commands of ``vtloc-calibrate`` write, and may replace later."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vtloc_runtime.errors import OutputError
from vtloc_runtime.system.atomic_write import atomic_write
from vtloc_runtime.system.output_check import check_output

AUTHOR = "vtloc-calibrate"
"""Reports and plots name it, so that a later run knows them for its own."""

_MARKERS = {".jsonl": b'"raw": ', ".safetensors": b'{"frames":'}
"""By what answers, and the reference frames beside them, are known."""


def check_report_file(path: Path, *, inputs: Iterable[tuple[str, Path]] = ()) -> None:
    """Refuse to write a report, a plot or answers over a file that holds something else.

    Args:
        path: The file; its suffix tells what it is to be.
        inputs: What each input is, and its path.

    Raises:
        OutputError: The file is an input, or another program wrote it.
    """
    marker = _MARKERS.get(path.suffix, AUTHOR.encode())
    check_output(path, inputs=inputs, ours=lambda content: marker in content)


def write_report(value: dict[str, Any], path: Path) -> None:
    """Write a report as JSON; numbers that are not finite become null.

    Args:
        value: Plain values.
        path: The file.

    Raises:
        OutputError: It cannot be written, or another program's file is there.
    """
    text = json.dumps({"created_by": AUTHOR, **finite(value)}, indent=2, allow_nan=False)
    check_report_file(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(f"{text}\n".encode())
    except OSError as error:
        raise OutputError(f"cannot write the report: {error.strerror}", where=path) from error


def finite(value: Any) -> Any:
    """The same values, with None for numbers that are not finite: nothing was measured there."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
