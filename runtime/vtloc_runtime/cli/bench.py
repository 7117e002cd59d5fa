"""``vtloc-run bench``: how fast a bundle runs here."""

from __future__ import annotations

from functools import wraps
from typing import Any

from vtloc_runtime.cli.bench_tables import bench_command
from vtloc_runtime.cli.program import new_application

app = new_application()


@app.command()
@wraps(bench_command)
def bench(**options: Any) -> None:
    """See ``bench_command``, whose options these are."""
    bench_command(**options)
