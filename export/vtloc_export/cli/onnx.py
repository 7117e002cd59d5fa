"""``vtloc-export onnx``: the command line of export."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vtloc_export.options import ExportOptions
from vtloc_export.signatures import PRECISIONS, Precision
from vtloc_runtime.errors import UsageError
from vtloc_runtime.system.tables import print_table

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from vtloc_export.bundle_export import ExportReport


def onnx_command(  # noqa: PLR0917 - the parameters of a command are its options
    source: Annotated[
        Path, typer.Argument(help="A localizer's checkpoint, or a bundle to export again.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory of the new bundle.")],
    precision: Annotated[
        str, typer.Option(help=f"Comma-separated list of {', '.join(PRECISIONS)}.")
    ] = "fp32,fp16",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a bundle that is already there.")
    ] = False,
    name: Annotated[str | None, typer.Option(help="Name of the bundle, shown to users.")] = None,
    license: Annotated[  # noqa: A002 - the option's name
        str | None, typer.Option(help="Licence of the weights.")
    ] = None,
    fps: Annotated[float | None, typer.Option(help="Frames to sample per second of video.")] = None,
    no_lint: Annotated[
        bool, typer.Option("--no-lint", help="Do not run Polygraphy's lint.")
    ] = False,
) -> None:
    """Export a localizer and its encoders to ONNX, checked against PyTorch.

    Each of the three networks is traced in each precision and compared with its PyTorch module
    over many shapes, padded and not. Half precision is computed in true half precision. The
    bundle appears only if all checks pass.
    """
    options = ExportOptions(
        precisions=parse_precisions(precision),
        overwrite=overwrite,
        name=name,
        license=license,
        frames_per_second=_rate(fps),
        lint=not no_lint,
    )
    from vtloc_export.bundle_export import export_bundle

    with progress_bar() as progress:
        report = export_bundle(source, out, options, progress)
    _print_report(report)


def parse_precisions(text: str) -> tuple[Precision, ...]:
    """Read a list of precisions, in the order of ``PRECISIONS``.

    Raises:
        UsageError: A precision is unknown, or the list is empty.
    """
    named = {word.strip() for word in text.split(",") if word.strip()}
    if unknown := named - set(PRECISIONS):
        raise UsageError(
            f"unknown precision {', '.join(sorted(unknown))}",
            where="--precision",
            remedy=f"Use {', '.join(PRECISIONS)}",
        )
    if not named:
        raise UsageError("the list of precisions is empty", where="--precision")
    return tuple(precision for precision in PRECISIONS if precision in named)


def _rate(fps: float | None) -> float | None:
    if fps is not None and not 0 < fps < float("inf"):
        raise UsageError("the rate must be positive", where="--fps")
    return fps


def _print_report(report: ExportReport) -> None:
    rows = []
    for item in report.networks:
        cosine = min(parity.worst.cosine for parity in item.parity)
        apart = max(parity.worst.relative_l2 for parity in item.parity)
        size = f"{item.files.size / 1e6:.1f}"
        rows.append([item.network, item.precision, size, f"{cosine:.6f}", f"{apart:.1e}"])
    print_table(
        f"{report.bundle.manifest.name}: {report.bundle.path}",
        ["network", "precision", "MB", "worst cosine", "worst relative L2"],
        rows,
    )


class _ProgressBar:
    """A bar on the terminal that names the current step."""

    def __init__(self, bar: Progress, task: TaskID) -> None:
        self._bar = bar
        self._task = task
        self._begun = False

    def begin(self, steps: int) -> None:
        """Show how many steps there are."""
        self._bar.update(self._task, total=steps)

    def step(self, what: str) -> None:
        """Name the step that starts."""
        if self._begun:
            self._bar.advance(self._task)
        self._begun = True
        self._bar.update(self._task, description=what)


@contextmanager
def progress_bar() -> Iterator[_ProgressBar]:
    """How far an export has come, on the terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
    )

    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        yield _ProgressBar(bar, bar.add_task("starting", total=None))
