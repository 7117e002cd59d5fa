"""``vtloc features``: a store filled with progress shown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vtloc.annotations import read_split
from vtloc.encoders import load_text_encoder, load_visual_encoder
from vtloc.features.extraction import (
    encode_queries,
    encode_videos,
    find_videos,
    frame_store,
    token_store,
)
from vtloc.tensor_file import write_whole
from vtloc.training.device import training_device

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from vtloc_runtime.errors import VtlocError


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
    if failures or (out / "failures.jsonl").exists():
        text = "".join(json.dumps(line) + "\n" for line in lines)
        write_whole(out / "failures.jsonl", text.encode())
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
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
