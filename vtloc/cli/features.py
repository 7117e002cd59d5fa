"""``vtloc features``: fill a store with the features of videos and sentences."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vtloc.cli.options import DeviceOption, DurationsOption
from vtloc_runtime.bundle.manifest_check import LEAST_FRAMES_PER_SECOND, MOST_FRAMES_PER_SECOND
from vtloc_runtime.errors import UsageError
from vtloc_runtime.system.output_check import check_output

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from vtloc_runtime.errors import VtlocError

FAILURES_NAME = "failures.jsonl"


def features(
    videos: Annotated[list[Path] | None, typer.Argument(help="Videos, or folders of them.")] = None,
    *,
    out: Annotated[Path, typer.Option(help="Store to fill; entries that it has are kept.")],
    encoder: Annotated[
        str | None, typer.Option(help="Frame encoder, such as open_clip:ViT-B-32:openai.")
    ] = None,
    queries: Annotated[
        list[Path] | None, typer.Option(help="Annotations whose sentences to encode; repeatable.")
    ] = None,
    text_encoder: Annotated[
        str | None, typer.Option(help="Text encoder, such as hf:bert-base-uncased.")
    ] = None,
    frames_per_second: Annotated[
        float,
        typer.Option(
            min=LEAST_FRAMES_PER_SECOND,
            max=MOST_FRAMES_PER_SECOND,
            help="Frames to sample per second of video.",
        ),
    ] = 1.0,
    batch_size: Annotated[int, typer.Option(min=1, max=65536, help="Frames encoded at once.")] = 32,
    half: Annotated[bool, typer.Option("--half", help="Store float16, half the size.")] = False,
    durations: DurationsOption = None,
    device: DeviceOption = "cpu",
) -> None:
    """Encode videos and sentences into a store of features.

    Run the same command again to resume. A video that cannot be read is listed in failures.jsonl
    and does not stop the others; the exit code is then 1.
    """
    from rich.console import Console

    from vtloc.encoders import random_weights

    if not videos and not queries:
        raise UsageError("there is nothing to encode", remedy="Name videos, or --queries")
    if videos and encoder is None:
        raise UsageError("videos need a frame encoder", remedy="Give --encoder")
    if queries and text_encoder is None:
        raise UsageError("sentences need a text encoder", remedy="Give --text-encoder")
    console = Console(stderr=True, markup=False)
    for name in dict.fromkeys(filter(None, (encoder, text_encoder))):
        if warning := random_weights(name):
            console.print(warning, soft_wrap=True)
    failed = 0
    if videos and encoder is not None:
        failed = encode_all_videos(
            videos,
            out,
            encoder,
            frames_per_second=frames_per_second,
            batch_size=batch_size,
            half=half,
            device=device,
            console=console,
        )
    if queries and text_encoder is not None:
        encode_all_queries(
            queries,
            out,
            text_encoder,
            durations=durations,
            half=half,
            device=device,
            console=console,
        )
    if failed:
        raise typer.Exit(1)


def encode_all_videos(
    videos: Sequence[Path],
    out: Path,
    encoder_name: str,
    *,
    frames_per_second: float,
    batch_size: int,
    half: bool,
    device: str,
    console: Console,
) -> int:
    """Encode videos, list failures in ``failures.jsonl``, and count them.

    Raises:
        VtlocError: The encoder or the store cannot be used.
    """
    from vtloc.encoders import load_visual_encoder
    from vtloc.features.extraction import encode_videos, find_videos, frame_store
    from vtloc.tensor_file import write_whole
    from vtloc.training.device import training_device

    check_output(
        out / FAILURES_NAME,
        ours=lambda content: content.startswith(b'{"video": ') and b'"kind": ' in content,
    )
    files = find_videos(videos)
    encoder = load_visual_encoder(encoder_name).to(training_device(device))
    store = frame_store(out, encoder, frames_per_second=frames_per_second)
    failures: list[tuple[Path, VtlocError]] = []
    stored = kept = 0
    with _progress(console) as progress:
        task = progress.add_task("videos", total=len(files))
        for done in encode_videos(files, store, encoder, batch_size=batch_size, half=half):
            progress.advance(task)
            stored += done.frames > 0
            kept += done.frames == 0 and done.error is None
            for warning in done.warnings:
                console.print(f"{done.video}: {warning}", soft_wrap=True, markup=False)
            if done.error is not None:
                failures.append((done.video, done.error))
                console.print(f"{done.error}", soft_wrap=True, markup=False)
    lines = (
        {"video": str(video), "kind": error.kind, "error": str(error)} for video, error in failures
    )
    if failures or (out / FAILURES_NAME).exists():
        text = "".join(json.dumps(line) + "\n" for line in lines)
        write_whole(out / FAILURES_NAME, text.encode())
    console.print(f"{stored} videos encoded, {kept} already stored, {len(failures)} failed")
    return len(failures)


def encode_all_queries(
    annotations: Sequence[Path],
    out: Path,
    encoder_name: str,
    *,
    durations: Path | None,
    half: bool,
    device: str,
    console: Console,
) -> None:
    """Encode the sentences of annotation files.

    Raises:
        VtlocError: An annotation file cannot be read, or the encoder or store cannot be used.
    """
    from vtloc.annotations import read_split
    from vtloc.encoders import load_text_encoder
    from vtloc.features.extraction import encode_queries, token_store
    from vtloc.training.device import training_device

    sentences = [
        example.query
        for path in annotations
        for example in read_split(path, durations=durations).examples
    ]
    encoder = load_text_encoder(encoder_name).to(training_device(device))
    store = token_store(out, encoder)
    distinct = list(dict.fromkeys(sentences))
    fresh = [sentence for sentence in distinct if not store.holds(sentence)]
    with _progress(console) as progress:
        task = progress.add_task("sentences", total=len(fresh))
        for count in encode_queries(fresh, store, encoder, half=half):
            progress.advance(task, count)
    console.print(f"{len(fresh)} sentences encoded, {len(distinct) - len(fresh)} already stored")


def _progress(console: Console) -> Progress:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
