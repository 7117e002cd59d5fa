"""A video as chunks of frames: what encoders take, wherever the decoding happens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vtloc_runtime.video import VideoOptions


@dataclass(frozen=True, slots=True, eq=False)
class FrameChunk:
    """Frames that follow one another.

    Attributes:
        images: ``[N, S, S, 3]`` uint8, RGB.
        times: ``[N]`` float64, when each came on screen, seconds.
    """

    images: NDArray[np.uint8]
    times: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ReadingEnd:
    """What is known once a video has been read to its end.

    Attributes:
        duration: When the last frame leaves the screen, seconds.
        warnings: What the reader had to say.
    """

    duration: float
    warnings: tuple[str, ...] = ()


Reading: TypeAlias = Iterator[FrameChunk | ReadingEnd]
"""The chunks of a video in order, and its end as the last item."""


class Read(Protocol):
    """A way to read videos."""

    def __call__(self, source: Any, options: VideoOptions, size: int) -> Reading:
        """Read a video in chunks of ``size`` frames.

        Raises:
            VideoError: The video cannot be read.
        """
        ...


def read_here(source: Any, options: VideoOptions, size: int) -> Reading:
    """Read a video in this process; at most one chunk of pictures is held.

    Args:
        source: Whatever ``vtloc_runtime.video.open_video`` takes.
        options: How to sample it.
        size: Frames in one chunk at most.

    Raises:
        VideoError: The video cannot be read.
    """
    from vtloc_runtime.video import open_video

    with open_video(source, options) as reader:
        frames = iter(reader)
        while chunk := list(islice(frames, size)):
            yield FrameChunk(
                np.stack([frame.image for frame in chunk]),
                np.array([frame.time for frame in chunk], dtype=np.float64),
            )
        yield ReadingEnd(float(reader.duration), tuple(reader.warnings))
