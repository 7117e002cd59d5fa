"""``vtloc-calibrate``: scores that mean something, samples, INT8, and sensitivity to precision."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from vtloc_runtime.errors import OutputError, UsageError, VtlocError

if TYPE_CHECKING:
    from vtloc_calibration.answers import Answers
    from vtloc_calibration.score_report import ScoreReport, Target
    from vtloc_runtime.bundle import Bundle

app = typer.Typer(
    name="vtloc-calibrate",
    help="Make a bundle smaller, and honest about its confidence.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


BundleArgument = Annotated[Path, typer.Argument(help="The bundle, a directory.")]
VideosOption = Annotated[Path, typer.Option(help="Folder that holds the videos.")]
SeedOption = Annotated[int, typer.Option(help="Of every draw; the same seed draws the same.")]
ReportOption = Annotated[
    Path | None, typer.Option(help="Folder for the table as JSON and the plot.")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Measure and report; leave the bundle as it is.")
]


@app.callback()
def _program() -> None:
    """Make a bundle smaller, and honest about its confidence."""


@app.command()
def scores(
    bundle: BundleArgument,
    *,
    labels: Annotated[
        Path | None,
        typer.Option(help="Labelled moments, JSON lines with vid, query, relevant_windows."),
    ] = None,
    videos: Annotated[Path | None, typer.Option(help="Folder that holds the videos.")] = None,
    answers: Annotated[
        Path | None, typer.Option(help="Answers that an earlier run kept, instead of videos.")
    ] = None,
    method: Annotated[
        Literal["isotonic", "temperature"] | None,
        typer.Option(help="How to fit; default: whichever holds better on held-out videos."),
    ] = None,
    keep: Annotated[
        float | None,
        typer.Option(help="Share of present sentences to go on answering (default 0.9)."),
    ] = None,
    precision: Annotated[
        float | None, typer.Option(help="Share of given answers to be right, instead of --keep.")
    ] = None,
    no_threshold: Annotated[
        bool, typer.Option("--no-threshold", help='Never answer "no such moment".')
    ] = False,
    absent: Annotated[
        int, typer.Option(min=0, help="Sentences of other videos to ask each video.")
    ] = 3,
    iou: Annotated[float, typer.Option(help="Overlap from which an answer is right.")] = 0.5,
    backend: Annotated[str, typer.Option(help="What runs the networks.")] = "onnxruntime",
    network_precision: Annotated[
        str | None, typer.Option(help="The precision to calibrate; default: the bundle's own.")
    ] = None,
    skip_missing: Annotated[
        bool, typer.Option("--skip-missing", help="Leave out lines whose video is not there.")
    ] = False,
    seed: SeedOption = 0,
    report: ReportOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Make scores probabilities, and choose when to answer that there is no such moment."""
    from vtloc_calibration.answers import Answers, read_answers, write_answers
    from vtloc_calibration.score_report import calibrate_scores
    from vtloc_calibration.variants import store_scores
    from vtloc_runtime.bundle import Bundle

    target = _target(keep, precision, never=no_threshold)
    opened = Bundle.open(bundle)
    if answers is not None:
        found = Answers(read_answers(answers), {})
    elif labels is None or videos is None:
        raise UsageError("give --labels and --videos, or --answers of an earlier run")
    else:
        found = _ask(
            opened, labels, videos, absent=absent, seed=seed, backend=backend,
            precision=network_precision, skip_missing=skip_missing,
        )  # fmt: skip
    if report is not None:
        write_answers(found.answers, report / "answers.jsonl")
    calibrated = calibrate_scores(
        found.answers,
        method=method,
        target=target,
        iou=iou,
        seed=seed,
    )
    _show_scores(calibrated, found)
    if report is not None:
        from vtloc_calibration.plots import plot_scores

        _write_json(calibrated.to_json(), report / "scores.json")
        plot_scores(calibrated, report / "scores.svg")
    if not dry_run:
        store_scores(opened, calibrated.calibration, measured=calibrated.summary())
        _say(f"Scores of {bundle} are probabilities now.")


def _target(keep: float | None, precision: float | None, *, never: bool) -> Target:
    from vtloc_calibration.score_report import Target

    if (keep is not None) + (precision is not None) + never > 1:
        raise UsageError("give one of --keep, --precision and --no-threshold")
    if never:
        return Target("never")
    if precision is not None:
        return Target("precision", precision)
    return Target("keep", 0.9 if keep is None else keep)


def _ask(
    bundle: Bundle,
    labels: Path,
    videos: Path,
    *,
    absent: int,
    seed: int,
    backend: str,
    precision: str | None,
    skip_missing: bool,
) -> Answers:
    from vtloc_calibration.answers import ask, without_calibration
    from vtloc_calibration.labelled import read_labelled, with_absent
    from vtloc_runtime.localizer import Localizer

    labelled = with_absent(
        read_labelled(labels, videos=videos, skip_missing=skip_missing),
        per_video=absent,
        seed=seed,
    )
    with (
        Localizer.open(
            without_calibration(bundle), backend=backend, precision=precision
        ) as localizer,
        _progress("sentences", len(labelled)) as advance,
    ):
        return ask(localizer, labelled, progress=advance)


def _show_scores(report: ScoreReport, found: Answers) -> None:
    for video, reason in found.unreadable.items():
        _say(f"left out {video}: {reason}")
    table = Table(title=f"Scores, {report.method}", title_justify="left")
    for column in ("", "raw", "calibrated, held-out videos"):
        table.add_column(column, justify="right" if column else "left")
    table.add_row(
        "expected calibration error", f"{report.error_before:.3f}", f"{report.error_after:.3f}"
    )
    table.add_row("Brier score", f"{report.brier_before:.3f}", f"{report.brier_after:.3f}")
    Console().print(table)
    _say(
        f"{report.present} sentences in {report.videos} videos, {report.right:.1%} right at IoU "
        f"{report.iou:g}; {report.absent} absent ones."
    )
    if report.held_out is not None:
        held, threshold = report.held_out, report.calibration.threshold
        _say(
            f"Below {threshold:.3f}: no such moment. On held-out videos that keeps "
            f"{held.kept:.1%} of present sentences and rejects {held.rejected:.1%} of absent ones."
        )


@contextmanager
def _progress(what: str, total: int) -> Iterator[Any]:
    """A bar on a terminal's error stream; gives a function that takes the number done."""
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


def _write_json(value: dict[str, Any], path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write the report: {error.strerror}", where=path) from error


def _say(message: str) -> None:
    Console(stderr=True, soft_wrap=True, highlight=False, markup=False).print(message)


def main() -> None:
    """Run the command line; every error of vtloc becomes one line and its exit code."""
    try:
        app()
    except VtlocError as error:
        print(f"vtloc-calibrate: {error}", file=sys.stderr)  # noqa: T201 (the error line itself)
        sys.exit(error.exit_code)
