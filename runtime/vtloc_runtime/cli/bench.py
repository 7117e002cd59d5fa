"""``vtloc-run bench``: how fast a bundle runs here."""

from __future__ import annotations

from functools import wraps
from typing import Any

import typer

from vtloc_runtime.cli.bench_tables import bench_command
from vtloc_runtime.cli.main import leave_with

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
@wraps(bench_command)
def bench(**options: Any) -> None:
    """See ``bench_command``, whose options these are."""

    def measure() -> int:
        bench_command(**options)
        return 0

    leave_with(measure)
