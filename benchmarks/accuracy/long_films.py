"""Long films cut from real shots and photographs, each part with sentences that describe it.

The shots of `montage.py`, played forward and backward, and photographs with their human captions
under a moving camera, at 25 pictures a second; every part is shown once, so a question has one
place. How often keyframes come is the caller's choice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np

from benchmarks.accuracy.montage import Shot, read_shots
from vtloc_runtime.bundle.manifest import Preprocessing
from vtloc_runtime.video import VideoOptions, open_video

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE, SIDE = 25, 256
SHORTEST, LONGEST = 3.0, 30.0


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a film.

    Attributes:
        start: First second.
        end: Last second.
        sentences: What people may ask for it by.
    """

    start: float
    end: float
    sentences: tuple[str, ...]


def write_long_film(
    path: Path, media: Path, *, seconds: float, group: int, cuts: bool = True, seed: int = 0
) -> list[Part]:
    """Write a film in H.264, and its parts beside it, unless it is there.

    Args:
        path: The ``.mp4``.
        media: The folder with ``videos`` and ``photos/coco``.
        seconds: About how long it is; parts are repeated in no case, so there is a longest.
        group: Pictures between keyframes at most.
        cuts: Whether the encoder also begins a group at every cut, as most do.
        seed: Of everything that is drawn.
    """
    labels = path.with_suffix(".json")
    if not labels.exists():
        rng = np.random.default_rng(seed)
        parts: list[Part] = []
        draft = path.with_suffix(".draft")
        options = {"preset": "veryfast", "g": str(group), "threads": "1", "bf": "3"}
        with av.open(str(draft), "w", format="mp4") as out:
            stream = out.add_stream(
                "libx264", rate=RATE, options=options | ({} if cuts else {"sc_threshold": "0"})
            )
            stream.width = stream.height = SIDE
            stream.pix_fmt = "yuv420p"
            stream.time_base = Fraction(1, RATE)
            clock = 0
            for pictures, sentences in _parts(media, rng):
                start = clock / RATE
                for picture in pictures:
                    frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                    frame = frame.reformat(format="yuv420p")
                    frame.pts, clock = clock, clock + 1
                    out.mux(stream.encode(frame))
                parts.append(Part(start, clock / RATE, sentences))
                if clock >= seconds * RATE:
                    break
            out.mux(stream.encode(None))
        draft.replace(path)
        rows = [[part.start, part.end, part.sentences] for part in parts]
        labels.write_text(json.dumps(rows))
    return [Part(start, end, tuple(said)) for start, end, said in json.loads(labels.read_text())]


def _parts(
    media: Path, rng: np.random.Generator
) -> Iterator[tuple[Iterator[NDArray[np.uint8]], tuple[str, ...]]]:
    photos = [
        json.loads(line)
        for line in (media / "photos/coco/captions.jsonl").read_text().splitlines()
        if line
    ]
    sources: list[Shot | dict[str, Any]] = [*read_shots(), *photos]
    for place in rng.permutation(len(sources)):
        source = sources[place]
        length = round(float(np.exp(rng.uniform(np.log(SHORTEST), np.log(LONGEST)))) * RATE)
        if isinstance(source, dict):
            yield _camera(media / "photos/coco", source, length, rng), tuple(source["captions"])
        else:
            yield islice(_forth_and_back(media, source), length), source.sentences


def _forth_and_back(media: Path, shot: Shot) -> Iterator[NDArray[np.uint8]]:
    instants = tuple(float(one) for one in np.arange(shot.start, shot.end, 1 / RATE))
    options = VideoOptions(instants=instants, preprocessing=Preprocessing(size=SIDE))
    with open_video(media / "videos" / shot.video, options) as reader:
        pictures = [frame.image for frame in reader]
    return cycle([*pictures, *pictures[-2:0:-1]])


def _camera(
    folder: Path, photo: dict[str, Any], length: int, rng: np.random.Generator
) -> Iterator[NDArray[np.uint8]]:
    """A camera that moves over a photograph, with a hand that trembles."""
    with av.open(str(folder / str(photo["file"]))) as container:
        whole = next(container.decode(video=0))
    scale = 1.3 * SIDE / min(whole.width, whole.height)
    grown = whole.reformat(
        width=round(whole.width * scale), height=round(whole.height * scale), format="rgb24"
    ).to_ndarray()
    room = np.array(grown.shape[:2]) - SIDE
    begin, end = rng.uniform(0, 1, 2) * room, rng.uniform(0, 1, 2) * room
    for number in range(length):
        place = begin + (end - begin) * number / length + rng.normal(0, 0.7, 2)
        top, left = np.clip(np.round(place), 0, room).astype(int)
        yield np.ascontiguousarray(grown[top : top + SIDE, left : left + SIDE])
