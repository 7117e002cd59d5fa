"""Chunks of frames: the form in which encoders receive a video."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vtloc_runtime.video import VideoOptions

_MOST_FRAMES = 4096
"""Frames of one chunk at most, however few pictures they show."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameChunk:
    """Consecutive frames; a picture that stays on screen is stored once.

    A chunk may begin with the picture that the one before it ended with.

    Attributes:
        images: ``[M, S, S, 3]`` uint8, RGB: the pictures, each unlike the one before it.
        times: ``[N]`` float64, when each frame's picture came on screen, seconds.
        index: ``[N]`` int64, which picture each frame shows: it begins with 0 and never falls or
            leaves one out. ``images[index]`` are all frames.
    """

    images: NDArray[np.uint8]
    times: NDArray[np.float64]
    index: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ReadingEnd:
    """What is known of a video once it was read to its end.

    Attributes:
        duration: When the last frame leaves the screen, seconds.
        warnings: What the reader had to say.
        keyframes: ``[K]`` float64, seconds at which decoding can begin; empty where the video has
            no index of them, or instants were asked for.
        period: Seconds from one picture to the next as the header says, or 0.
        hidden_cuts: ``[H]`` float64, seconds at which scenes seem to begin between keyframes, where
            an outline was asked for and the index tells.
    """

    duration: float
    warnings: tuple[str, ...] = ()
    keyframes: NDArray[np.float64] = field(default_factory=lambda: np.empty(0), compare=False)
    period: float = 0.0
    hidden_cuts: NDArray[np.float64] = field(default_factory=lambda: np.empty(0), compare=False)


Reading: TypeAlias = Generator[FrameChunk | ReadingEnd, None, None]
"""The chunks of a video in order, and its end as the last item."""


class Read(Protocol):
    """A way to read videos."""

    def __call__(self, source: Any, options: VideoOptions, size: int) -> Reading:
        """Read a video in chunks of ``size`` pictures at most.

        Raises:
            VideoError: The video cannot be read.
        """
        ...


class ChunkBuilder:
    """Collects frames into chunks.

    A picture is written into ``slot``, then counted with ``add``; ``full`` says when to take the
    chunk before the next picture.

    Args:
        size: Pictures in one chunk at most.
        side: Pixels of a picture's side.
    """

    def __init__(self, size: int, side: int) -> None:
        self._shape = (max(1, size), side, side, 3)
        self._images = np.empty(self._shape, dtype=np.uint8)
        self._pictures = 0
        self._last: NDArray[np.uint8] | None = None
        self._times: list[float] = []
        self._index: list[int] = []

    @property
    def last(self) -> NDArray[np.uint8] | None:
        """The picture that was added last, ``[S, S, 3]``; None before the first."""
        return self._last

    @property
    def full(self) -> bool:
        """Whether no further picture fits."""
        return self._pictures == len(self._images) or self.crowded

    @property
    def crowded(self) -> bool:
        """Whether no further frame fits, not even one that shows the last picture again."""
        return len(self._times) >= _MOST_FRAMES

    @property
    def slot(self) -> NDArray[np.uint8]:
        """Where the next picture goes, ``[S, S, 3]``."""
        slot: NDArray[np.uint8] = self._images[self._pictures]
        return slot

    def add(self, time: float) -> None:
        """Count the picture in the slot as the next frame."""
        self._last = self.slot
        self._pictures += 1
        self._note(time)

    def again(self, time: float) -> None:
        """Add a frame that shows the picture that was added last."""
        if not self._pictures and self._last is not None:
            self.slot[:] = self._last
            self.add(time)
        else:
            self._note(time)

    def take(self) -> FrameChunk:
        """The frames so far; the next chunk begins."""
        chunk = FrameChunk(
            self._images[: self._pictures],
            np.array(self._times, dtype=np.float64),
            np.array(self._index, dtype=np.int64),
        )
        self._images = np.empty(self._shape, dtype=np.uint8)
        self._pictures = 0
        self._times, self._index = [], []
        return chunk

    def __len__(self) -> int:
        return len(self._times)

    def _note(self, time: float) -> None:
        self._times.append(time)
        self._index.append(self._pictures - 1)


def read_here(source: Any, options: VideoOptions, size: int) -> Reading:
    """Read a video in this process; at most one chunk of pictures is held.

    Args:
        source: Whatever ``vtloc_runtime.video.open_video`` takes.
        options: How to sample it.
        size: Pictures in one chunk at most.

    Raises:
        VideoError: The video cannot be read.
    """
    from vtloc_runtime.video import open_video

    builder = ChunkBuilder(size, options.preprocessing.size)
    last = 0.0
    with open_video(source, options) as reader:
        for frame in reader:
            same = is_same(frame.image, builder.last)
            if builder.crowded if same else builder.full:
                yield builder.take()
            last = frame.time
            if same:
                builder.again(last)
            else:
                builder.slot[:] = frame.image
                builder.add(last)
        if len(builder):
            yield builder.take()
        duration = max(last, float(reader.duration))
        yield ReadingEnd(
            duration, tuple(reader.warnings), reader.keyframes, reader.period, reader.hidden_cuts
        )


def is_same(image: NDArray[np.uint8], last: NDArray[np.uint8] | None) -> bool:
    """Whether a picture equals the one before it."""
    return last is not None and (image is last or np.array_equal(image, last))
