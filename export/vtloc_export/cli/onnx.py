"""``vtloc-export onnx``: the command line of export."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vtloc_export.options import ExportOptions
from vtloc_export.signatures import PRECISIONS, Precision
from vtloc_runtime.bundle.bundle_names import bundle_names, named_folder
from vtloc_runtime.bundle.manifest_check import LEAST_FRAMES_PER_SECOND, MOST_FRAMES_PER_SECOND
from vtloc_runtime.errors import UsageError
from vtloc_runtime.system.tables import print_table

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from vtloc_export.bundle_export import ExportReport
    from vtloc_export.sources import EncoderPair


def onnx_command(  # noqa: PLR0917 - the parameters of a command are its options
    source: Annotated[
        str | None,
        typer.Argument(
            help="A localizer's checkpoint, a bundle to export again, or an encoder's name such as "
            "open_clip:ViT-B-32:openai (vtloc-export models lists them)."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Directory of the new bundle. Default: your folder of bundles."
        ),
    ] = None,
    visual: Annotated[
        str | None, typer.Option(help="The frame encoder's name, in place of a source.")
    ] = None,
    text: Annotated[
        str | None, typer.Option(help="The text encoder's name, beside --visual.")
    ] = None,
    precision: Annotated[
        str, typer.Option(help=f"Comma-separated list of {', '.join(PRECISIONS)}.")
    ] = "fp32,fp16",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a bundle that is already there.")
    ] = False,
    name: Annotated[
        str | None,
        typer.Option(
            help="Name of the bundle, shown to users. Without --out, the name to open it by."
        ),
    ] = None,
    license: Annotated[  # noqa: A002 - the option's name
        str | None, typer.Option(help="Licence of the weights.")
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(
            min=LEAST_FRAMES_PER_SECOND,
            max=MOST_FRAMES_PER_SECOND,
            help="Frames to sample per second of video.",
        ),
    ] = None,
    no_lint: Annotated[
        bool, typer.Option("--no-lint", help="Do not run Polygraphy's lint.")
    ] = False,
) -> None:
    """Export a localizer and its encoders to ONNX, or encoders alone, checked against PyTorch.

    Each network is traced in each precision and compared with its PyTorch module over many
    shapes, padded and not. Half precision is computed in true half precision. The bundle appears
    only if all checks pass.

    Encoders alone find moments by the similarity of frames and sentences, without training. With
    --name and no --out, the bundle is then opened by its name: vtloc-run --bundle NAME.
    """
    given = read_source(source, visual, text)
    place = _place(out, name)
    options = ExportOptions(
        precisions=parse_precisions(precision),
        overwrite=overwrite,
        name=name,
        license=license,
        frames_per_second=fps,
        lint=not no_lint,
    )
    from vtloc_export.bundle_export import export_bundle

    _warn_of_random_weights(given)
    with progress_bar() as progress:
        report = export_bundle(given, place, options, progress)
    _print_report(report)


def read_source(source: str | None, visual: str | None, text: str | None) -> Path | EncoderPair:
    """What is to be exported.

    Args:
        source: A path, or the name of encoders.
        visual: The frame encoder's name, in place of a source.
        text: The text encoder's name, beside it.

    Raises:
        UsageError: Nothing is named, or too much.
        EncoderError: The source is neither a path nor the name of encoders.
    """
    from vtloc.encoders import is_encoder_name
    from vtloc.encoders.catalogue import nearest_names
    from vtloc.errors import EncoderError
    from vtloc_export.sources import EncoderPair

    if not source:
        if visual is None or text is None:
            raise UsageError(
                "nothing to export is named",
                remedy="Name a checkpoint, a bundle, an encoder such as open_clip:ViT-B-32:openai, "
                "or both --visual and --text",
            )
        return EncoderPair(visual, text)
    if visual is not None or text is not None:
        raise UsageError(
            "both a source and an encoder are named",
            where=source,
            remedy="Name the source alone, or --visual and --text alone",
        )
    if os.path.lexists(source):
        return Path(source)
    if source in bundle_names():
        return named_folder(source)
    if is_encoder_name(source):
        return EncoderPair(source, source)
    near = nearest_names(source)
    if ":" in source or near or not Path(source).suffix:
        raise EncoderError(
            "this is neither a file nor the name of an encoder",
            where=source,
            remedy=f"Did you mean {' or '.join(near)}?"
            if near
            else "List public encoders with: vtloc-export models",
        )
    return Path(source)


def _warn_of_random_weights(source: Path | EncoderPair) -> None:
    from vtloc.encoders import random_weights
    from vtloc_export.sources import EncoderPair

    named = {source.visual, source.text} if isinstance(source, EncoderPair) else ()
    for warning in filter(None, map(random_weights, sorted(named))):
        sys.stderr.write(f"{warning}\n")


def _place(out: Path | None, name: str | None) -> Path:
    if out is not None:
        return out
    if name is None:
        raise UsageError(
            "the new bundle has no place",
            remedy="Name its folder with --out, or give it a --name to open it by",
        )
    return named_folder(name)


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
    stages = ", ".join(f"{what} {seconds:.0f}" for what, seconds in report.seconds.items())
    total = sum(report.seconds.values())
    sys.stdout.write(f"{total:.0f} s: {stages}\n")


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
