"""``vtloc-calibrate scores``: scores that are probabilities, and a threshold."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from vtloc_calibration.cli.console import print_message, progress_bar
from vtloc_calibration.cli.options import (
    BundleArgument,
    DryRunOption,
    PrecisionOption,
    ReportOption,
    SeedOption,
)
from vtloc_calibration.report_files import check_report_file, write_report
from vtloc_runtime.errors import UsageError

if TYPE_CHECKING:
    from vtloc_calibration.scores.answers import Answers
    from vtloc_calibration.scores.report import ScoreReport, Target
    from vtloc_runtime.bundle.bundle import Bundle


def scores(
    bundle: BundleArgument,
    *,
    labels: Annotated[
        Path | None,
        typer.Option(help="Labelled moments, in any annotation format that vtloc reads."),
    ] = None,
    videos: Annotated[Path | None, typer.Option(help="Folder that holds the videos.")] = None,
    answers: Annotated[
        Path | None,
        typer.Option(help="Answers of an earlier run (answers.jsonl), instead of videos."),
    ] = None,
    method: Annotated[
        Literal["isotonic", "temperature"] | None,
        typer.Option(help="How to fit; default: whichever is better on held-out videos."),
    ] = None,
    keep: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Share of present sentences that must still get an answer (default 0.9).",
        ),
    ] = None,
    precision: Annotated[
        float | None,
        typer.Option(
            min=0.0, max=1.0, help="Share of given answers to be right, instead of --keep."
        ),
    ] = None,
    no_threshold: Annotated[
        bool, typer.Option("--no-threshold", help='Never answer "no such moment".')
    ] = False,
    absent: Annotated[
        int, typer.Option(min=0, max=1000, help="Sentences of other videos to ask each video.")
    ] = 3,
    iou: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="IoU from which an answer counts as right.")
    ] = 0.5,
    backend: Annotated[str, typer.Option(help="Backend for the networks.")] = "onnxruntime",
    network_precision: PrecisionOption = None,
    skip_missing: Annotated[
        bool, typer.Option("--skip-missing", help="Leave out lines whose video is missing.")
    ] = False,
    seed: SeedOption = 0,
    report: ReportOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Turn scores into probabilities, and choose the threshold for "no such moment"."""
    from vtloc_calibration.bundle_edit import store_scores
    from vtloc_calibration.scores.answers import (
        Answers,
        read_answers,
        write_answers,
    )
    from vtloc_calibration.scores.report import calibrate_scores
    from vtloc_runtime.bundle.bundle import Bundle

    target = _target(keep, precision, never=no_threshold)
    opened = Bundle.open(bundle)
    if report is not None:
        inputs = [] if labels is None else [("the labels", labels)]
        for name in ("answers.jsonl", "scores.json", "scores.svg"):
            check_report_file(report / name, inputs=inputs)
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
        write_answers(found, report / "answers.jsonl")
    calibrated = calibrate_scores(
        found.answers,
        method=method,
        target=target,
        iou=iou,
        seed=seed,
    )
    _show_scores(calibrated, found)
    if report is not None:
        from vtloc_calibration.scores.plots import plot_scores

        write_report(calibrated.to_json(), report / "scores.json")
        plot_scores(calibrated, report / "scores.svg")
    if not dry_run:
        store_scores(
            opened,
            calibrated.calibration,
            measured=calibrated.summary(),
            least_margin=calibrated.least_margin,
        )
        print_message(f"Scores of {bundle} are probabilities now.")


def _target(keep: float | None, precision: float | None, *, never: bool) -> Target:
    from vtloc_calibration.scores.report import Target

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
    from vtloc_calibration.scores.answers import ask, without_calibration
    from vtloc_calibration.scores.labelled import check_enough, read_labelled, with_absent
    from vtloc_runtime.localize.localizer import Localizer

    read = read_labelled(labels, videos=videos, skip_missing=skip_missing)
    check_enough(read)
    labelled = with_absent(read, per_video=absent, seed=seed)
    with (
        Localizer.open(
            without_calibration(bundle), backend=backend, precision=precision
        ) as localizer,
        progress_bar("sentences", len(labelled)) as advance,
    ):
        return ask(localizer, labelled, progress=advance)


def _show_scores(report: ScoreReport, found: Answers) -> None:
    for video, reason in found.unreadable.items():
        print_message(f"left out {video}: {reason}")
    table = Table(title=f"Scores, {report.method}", title_justify="left")
    for column in ("", "raw", "calibrated, held-out videos"):
        table.add_column(column, justify="right" if column else "left")
    table.add_row(
        "expected calibration error", f"{report.error_before:.3f}", f"{report.error_after:.3f}"
    )
    table.add_row("Brier score", f"{report.brier_before:.3f}", f"{report.brier_after:.3f}")
    Console().print(table)
    print_message(
        f"{report.present} sentences in {report.videos} videos, {report.right:.1%} right at IoU "
        f"{report.iou:g}; {report.absent} absent ones."
    )
    if report.held_out is not None:
        held = report.held_out
        print_message(
            f"A {report.evidence} below {report.threshold:.3f}: no such moment. On held-out "
            "videos that keeps "
            f"{held.kept:.1%} of present sentences and rejects {held.rejected:.1%} of absent ones."
        )
