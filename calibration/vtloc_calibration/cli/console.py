"""What the commands show and write: progress, messages, JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vtloc_runtime.errors import OutputError
from vtloc_runtime.system.atomic_write import atomic_write
from vtloc_runtime.system.output_check import check_output

_AUTHOR = "vtloc-calibrate"


@contextmanager
def progress_bar(what: str, total: int) -> Iterator[Any]:
    """A bar on a terminal's error stream; gives a function that takes the number done.

    Args:
        what: What is being done.
        total: How many there are.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.update(task, completed=done)


def write_json(value: dict[str, Any], path: Path) -> None:
    """Write a report; numbers that JSON has no word for become null.

    Args:
        value: Plain values.
        path: The file.

    Raises:
        OutputError: It cannot be written, or another program's file is there.
    """
    marked = {"created_by": _AUTHOR, **finite(value)}
    text = json.dumps(marked, indent=2, allow_nan=False)
    check_output(path, ours=lambda content: f'"created_by": "{_AUTHOR}"'.encode() in content)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(f"{text}\n".encode())
    except OSError as error:
        raise OutputError(f"cannot write the report: {error.strerror}", where=path) from error


def finite(value: Any) -> Any:
    """The same values, with null for what is not finite: nothing was measured there."""
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def say(message: str) -> None:
    """One line on the error stream."""
    Console(stderr=True, soft_wrap=True, highlight=False, markup=False).print(message)
