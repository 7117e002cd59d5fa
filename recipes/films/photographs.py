"""Videos composed of photographs, to test and to measure on; nothing is trained on them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np

from vtloc_runtime.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_FRAMES_PER_SECOND = 10
_WIDTH, _HEIGHT = 384, 288
# Several threads code other pictures than one, and how many there are depends on the machine.
_X264 = {"preset": "veryfast", "crf": "23", "threads": "1"}


@dataclass(frozen=True, slots=True)
class Shot:
    """A photograph that a camera moves over for a while.

    Attributes:
        image: RGB, uint8 [H, W, 3].
        seconds: How long.
    """

    image: NDArray[np.uint8]
    seconds: float


def write_video(path: Path, shots: Sequence[Shot], *, seed: int = 0) -> None:
    """Write an H.264 video in which a camera pans and zooms over photographs, one after another.

    Light changes slowly, and the hand that holds the camera trembles. The same seed gives the
    same file, however many processors there are.

    Args:
        path: Where the film goes, an MP4 whatever its name.
        shots: What is shown, in order.
        seed: Seed of the camera.

    Raises:
        OutputError: The file cannot be written.
    """
    rng = np.random.default_rng(seed)
    try:
        with av.open(str(path), "w", format="mp4") as container:
            stream = container.add_stream("libx264", rate=_FRAMES_PER_SECOND, options=dict(_X264))
            stream.width, stream.height, stream.pix_fmt = _WIDTH, _HEIGHT, "yuv420p"
            stream.time_base = Fraction(1, _FRAMES_PER_SECOND)
            clock = 0
            for shot in shots:
                for picture in _film(shot, rng):
                    picture.pts = clock
                    clock += 1
                    container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
    except (OSError, av.FFmpegError) as error:
        raise OutputError(f"cannot write the video: {error}", where=path) from error


def _film(shot: Shot, rng: np.random.Generator) -> Iterator[av.VideoFrame]:
    """The frames of one shot."""
    count = max(1, round(shot.seconds * _FRAMES_PER_SECOND))
    height, width = shot.image.shape[:2]
    # The largest part of the photograph that has the video's shape.
    scale = min(width / _WIDTH, height / _HEIGHT)
    zoom, pan, light = (
        rng.uniform(0.7, 1.0, 2),
        rng.uniform(0, 1, (2, 2)),
        rng.uniform(0.8, 1.15, 2),
    )
    tremble = np.cumsum(rng.normal(0, 0.004, (count, 2)), axis=0)
    for index in range(count):
        share = index / max(1, count - 1)
        size = scale * float(zoom[0] + (zoom[1] - zoom[0]) * share)
        wide, high = int(_WIDTH * size), int(_HEIGHT * size)
        place = np.clip(pan[0] + (pan[1] - pan[0]) * share + tremble[index], 0, 1)
        left, top = int(place[0] * (width - wide)), int(place[1] * (height - high))
        part = shot.image[top : top + high, left : left + wide]
        lit = np.clip(part * float(light[0] + (light[1] - light[0]) * share), 0, 255)
        frame = av.VideoFrame.from_ndarray(
            np.ascontiguousarray(lit.astype(np.uint8)), format="rgb24"
        )
        yield frame.reformat(_WIDTH, _HEIGHT, "yuv420p", interpolation="BICUBIC")
