"""Checks where results and reports are to be written, before any work is done."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from vtloc_runtime.batch.results_file import holds_results
from vtloc_runtime.errors import MissingExtraError, OutputError
from vtloc_runtime.report.page import is_page
from vtloc_runtime.system.output_check import check_distinct, check_output


def check_outputs(
    out: Path | None, report: Path | None, *, inputs: Iterable[str], bundle: Path
) -> None:
    """Refuse outputs that would replace an input, each other, or a file that vtloc did not write.

    Args:
        out: The results file.
        report: The report.
        inputs: Videos and lists.
        bundle: The bundle's folder.

    Raises:
        OutputError: One of them would, or cannot be written.
        MissingExtraError: The report's template engine is not installed.
    """
    check_distinct([("--out", out), ("--report", report)])
    read = [("the bundle", str(bundle)), *(("a video or list of this run", i) for i in inputs)]
    if out is not None:
        check_output(out, inputs=read, ours=holds_results)
    if report is not None:
        check_output(report, inputs=read, ours=is_page)
        _check_report(report)


def _check_report(path: Path) -> None:
    from importlib.util import find_spec

    if find_spec("jinja2") is None:
        raise MissingExtraError.of("jinja2", extra="report", purpose="The report")
    parent = path.absolute().parent
    while not os.path.lexists(parent):
        parent = parent.parent
    special = os.path.exists(path) and not os.path.isfile(path)
    if special or not os.path.isdir(parent) or not os.access(parent, os.W_OK):
        raise OutputError("the report cannot be written to this place", where=path)
