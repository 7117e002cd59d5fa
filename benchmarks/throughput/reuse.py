"""Claim: frames that share features spare encoding and move no answer about real videos.

Every video of a folder is encoded twice, every frame by itself and with frames that share, and
asked the same sentences both ways: those of its labels, and many that describe something else.

    VTLOC_TEST_MEDIA=... python -m benchmarks.throughput.reuse
    python -m benchmarks.throughput.reuse film.mp4 talk.mkv
"""

from __future__ import annotations

import argparse
import json
import os
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.throughput.films import QUERIES
from benchmarks.throughput.machine import machine_line
from vtloc_runtime import Localizer
from vtloc_runtime.errors import VideoError

if TYPE_CHECKING:
    from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo
    from vtloc_runtime.localize.spans.moments import Localization

MOVED = 0.5
FEWEST = 5
SENTENCES = (
    *QUERIES, "a person", "a dog", "a car on a road", "a bottle on a table", "a bird on a branch",
    "people playing music", "a book", "water and boats", "food in a pan", "a screen with text",
    "a bicycle", "an airplane in the sky", "a child with a toy", "a flower", "a bear",
    "a golf course", "a man wearing a hat", "a street at night", "a diagram", "nothing happens",
)  # fmt: skip


def labelled(folder: Path | None) -> dict[str, list[str]]:
    """The sentences of each labelled video, by its file's name."""
    found: dict[str, list[str]] = defaultdict(list)
    if folder is not None and (folder / "labels.jsonl").exists():
        for line in (folder / "labels.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            found[row["vid"]].append(row["query"])
    return found


def moved(before: list[Localization], after: list[Localization]) -> int:
    """How many first moments lie half a second or more from where they were."""
    count = 0
    for one, other in zip(before, after, strict=True):
        if one.best is None or other.best is None:
            count += one.best is not other.best
            continue
        apart = abs(one.best.start - other.best.start), abs(one.best.end - other.best.end)
        count += max(apart) >= MOVED
    return count


def cosines(one: EncodedVideo, other: EncodedVideo) -> np.ndarray:
    """Cosine of each frame's features to those that it has when it is encoded by itself."""
    rows = [video.features.astype(np.float64) for video in (one, other)]
    lengths = [np.linalg.norm(row, axis=1) for row in rows]
    found: np.ndarray = (rows[0] * rows[1]).sum(axis=1) / (lengths[0] * lengths[1])
    return found


def main() -> None:
    """Measure, print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("videos", nargs="*", type=Path)
    parser.add_argument("--bundle", type=Path, help="a bundle; without it the one that ships")
    options = parser.parse_args()
    media = os.environ.get("VTLOC_TEST_MEDIA")
    folder = Path(media) / "videos" if media else None
    videos = options.videos or (sorted(folder.iterdir()) if folder else [])
    if not videos:
        parser.error("name videos, or set VTLOC_TEST_MEDIA")
    labels = labelled(folder)
    print("| video | frames | encoded | lowest cosine | labelled, moved | other sentences, moved |")
    print("|---|--:|--:|--:|--:|--:|", flush=True)
    total = np.zeros(6, dtype=int)
    lowest = 1.0
    with (
        Localizer.open(options.bundle, reuse=0) as exact,
        Localizer.open(options.bundle) as sharing,
    ):
        for path in videos:
            try:
                before, after = exact.encode_video(path), sharing.encode_video(path)
            except VideoError:
                continue
            if len(before) < FEWEST:
                continue
            own = labels[path.name]
            counts = [
                moved(exact.localize(before, asked), sharing.localize(after, asked))
                for asked in (own, list(SENTENCES))
            ]
            encoded = 1 + int((np.diff(after.features, axis=0) != 0).any(axis=1).sum())
            cosine = float(cosines(before, after).min())
            row = (len(before), encoded, counts[0], len(own), counts[1], len(SENTENCES))
            total, lowest = total + row, min(lowest, cosine)
            print_row(path.name, row, cosine)
    print_row("all", tuple(total.tolist()), lowest)
    print(f"\n{machine_line('onnxruntime')}")


def print_row(name: str, row: tuple[int, ...], cosine: float) -> None:
    """One line of the table."""
    frames, encoded, ours, labelled_, others, asked = row
    print(
        f"| {name} | {frames} | {encoded} | {cosine:.4f} | {ours} of {labelled_} "
        f"| {others} of {asked} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
