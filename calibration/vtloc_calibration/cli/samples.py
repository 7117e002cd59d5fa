"""``vtloc-calibrate samples``: real inputs of the networks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from vtloc_calibration.cli.console import print_message, progress_bar
from vtloc_calibration.cli.options import BundleArgument, PrecisionOption, SeedOption
from vtloc_runtime.batch.job_lists.job_files import read_sentences
from vtloc_runtime.errors import UsageError

if TYPE_CHECKING:
    from vtloc_calibration.samples.samples import SampledVideo


def samples(
    bundle: BundleArgument,
    *,
    videos: Annotated[Path, typer.Option(help="Folder that holds the videos.")],
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
