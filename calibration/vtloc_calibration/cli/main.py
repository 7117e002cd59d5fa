"""``vtloc-calibrate``: score probabilities, reference frames, samples, INT8, sensitivity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from vtloc_calibration.cli.console import print_message, progress_bar
from vtloc_calibration.cli.precision import int8, sensitivity
from vtloc_calibration.cli.reference import reference
from vtloc_calibration.report_files import check_report_file, write_report
from vtloc_runtime.batch.job_lists.job_files import read_sentences
from vtloc_runtime.cli.console.program import VersionOption, new_application, run_program
from vtloc_runtime.errors import UsageError

if TYPE_CHECKING:
    from vtloc_calibration.samples.samples import SampledVideo
    from vtloc_calibration.scores.answers import Answers
    from vtloc_calibration.scores.report import ScoreReport, Target
    from vtloc_runtime.bundle.bundle import Bundle

app = new_application()


BundleArgument = Annotated[Path, typer.Argument(help="The bundle, a directory.")]
VideosOption = Annotated[Path, typer.Option(help="Folder that holds the videos.")]
SeedOption = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Random seed.")]
PrecisionOption = Annotated[
    str | None, typer.Option(help="Precision of the networks; default: the bundle's own.")
]
ReportOption = Annotated[
    Path | None, typer.Option(help="Folder for the table as JSON and the plot.")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Measure and report, without changing the bundle.")
]


@app.callback()
def program(version: VersionOption = False) -> None:
    """Calibrate the scores of a bundle, and write its networks in INT8."""


@app.command()
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


@app.command()
def samples(
    bundle: BundleArgument,
    *,
    videos: VideosOption,
    out: Annotated[Path, typer.Option(help="The safetensors file; a .json goes beside it.")],
    labels: Annotated[
        Path | None, typer.Option(help="Annotations; each video is asked its own sentences.")
    ] = None,
    queries: Annotated[
        Path | None, typer.Option(help="Sentences, one per line; each video is asked all of them.")
    ] = None,
    frames: Annotated[int, typer.Option(min=1, max=10**6, help="Maximum number of frames.")] = 256,
    per_video: Annotated[
        int, typer.Option(min=1, max=10**6, help="Maximum number of frames per video.")
    ] = 16,
    limit: Annotated[int, typer.Option(min=1, max=10**6, help="Maximum number of videos.")] = 64,
    network_precision: PrecisionOption = None,
    seed: SeedOption = 0,
) -> None:
    """Record inputs of the networks, from videos and sentences like those in production."""
    from vtloc_calibration.samples.recorder import Amount
    from vtloc_calibration.samples.samples import check_samples_file, draw_samples
    from vtloc_runtime.bundle.bundle import Bundle

    opened = Bundle.open(bundle)
    named = [("the bundle", bundle)]
    lists = [("the list", given) for given in (labels, queries) if given is not None]
    check_samples_file(out, inputs=[*named, *lists])
    found = _sampled_videos(videos, labels, queries)
    amount = Amount(videos=limit, frames=frames, frames_per_video=per_video)
    with progress_bar("videos", min(limit, len(found))) as advance:
        drawn = draw_samples(
            opened, found, amount=amount, precision=network_precision, seed=seed, progress=advance
        )
    drawn.save(out)
    _show_samples(drawn.summary)
    print_message(f"Samples are in {out}.")


def _sampled_videos(
    videos: Path, labels: Path | None, queries: Path | None
) -> tuple[SampledVideo, ...]:
    from vtloc_calibration.samples.samples import SampledVideo
    from vtloc_calibration.scores.labelled import read_labelled
    from vtloc_runtime.batch.job_lists.folder_listing import list_videos

    if (labels is None) == (queries is None):
        raise UsageError("give --labels or --queries, so that there are sentences to ask")
    if labels is not None:
        asked: dict[Path, list[str]] = {}
        for query in read_labelled(labels, videos=videos, skip_missing=True):
            asked.setdefault(query.video, []).append(query.query)
        return tuple(SampledVideo(video, tuple(own)) for video, own in asked.items())
    if not videos.is_dir():
        raise UsageError("the folder of videos does not exist", where=videos)
    files = list_videos(videos).videos
    if not files:
        raise UsageError("the folder contains no videos", where=videos)
    sentences = tuple(dict.fromkeys(read_sentences(queries))) if queries is not None else ()
    return tuple(SampledVideo(Path(file), sentences) for file in files)


def _show_samples(summary: Mapping[str, Any]) -> None:
    for video, reason in summary["unreadable"].items():
        print_message(f"left out {video}: {reason}")
    table = Table(title="Samples", title_justify="left")
    for column in ("", "count", "5 %", "50 %", "95 %"):
        table.add_column(column, justify="right" if column else "left")
    frames, sentences = summary["frames"], summary["sentences"]
    table.add_row("videos", str(len(summary["videos"])), "", "", "")
    rows = [
        ("frames, brightness", frames["count"], frames["brightness"]),
        ("frames, contrast", frames["distinct"], frames["contrast"]),
        ("sentences, tokens", sentences["count"], sentences["tokens"]),
    ]
    if (localizer := summary.get("localizer")) is not None:
        rows.append(("localizer calls, frames", localizer["count"], localizer["frames"]))
    for label, count, quantiles in rows:
        table.add_row(label, str(count), *(f"{quantile:g}" for quantile in quantiles))
    Console().print(table)


app.command()(sensitivity)
app.command()(int8)
app.command()(reference)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit code.

    Args:
        arguments: What follows the program's name; None reads it from the process.
    """
    run_program(app, "vtloc-calibrate", arguments, extra="calibration")
