"""Reads frames and encodes them as they come; at most one batch of pictures waits."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from vtloc_runtime.errors import VideoError
from vtloc_runtime.localize.encoding.frame_features import FeatureCollector
from vtloc_runtime.video.isolation.chunks import Read, ReadingEnd

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vtloc_runtime.localize.encoding.frame_features import RunFrames
    from vtloc_runtime.video import VideoOptions

_SHORTEST = 0.001


@dataclass(frozen=True, slots=True, eq=False)
class EncodedFrames:
    """Some frames of a video, encoded.

    Attributes:
        rows: ``[M, Dv]`` float32, the features that differ.
        times: ``[N]`` float64, when each frame came on screen, seconds.
        ending: What the reader knew at the end.
        index: ``[N]`` int64, the row of each frame; None: each has its own.
        timings: Seconds spent decoding and encoding.
    """

    rows: NDArray[np.float32]
    times: NDArray[np.float64]
    ending: ReadingEnd
    index: NDArray[np.int64] | None
    timings: dict[str, float]

    def __len__(self) -> int:
        return len(self.times)


class TimeLimit:
    """Gives a video up that takes too long to read and encode: no reader knows of the encoding.

    Args:
        reading: How it is read, its limits included.
        source: The video.
    """

    def __init__(self, reading: VideoOptions, source: Any) -> None:
        self._began = time.perf_counter()
        self._most = reading.limits.wall_seconds
        self._source = source

    def check(self) -> None:
        """Raise an error once the time is over."""
        if time.perf_counter() - self._began > self._most:
            raise VideoError(
                f"takes more than {self._most:g} s to read and encode",
                where=self._source,
                remedy="Raise the timeout, if it is worth the time",
            )

    def left(self, reading: VideoOptions) -> VideoOptions:
        """The same options, with what is left of the time."""
        if math.isinf(self._most):
            return reading
        self.check()
        left = max(self._most - (time.perf_counter() - self._began), _SHORTEST)
        return replace(reading, limits=replace(reading.limits, wall_seconds=left))


@dataclass(frozen=True, slots=True)
class FrameEncoder:
    """Encodes what a reader gives.

    Attributes:
        run: Encodes a batch of pictures.
        reuse: Most grey levels by which frames that share features may differ.
        batch: Pictures in one batch at most.
    """

    run: RunFrames
    reuse: float
    batch: int

    def encode(
        self,
        source: Any,
        reading: VideoOptions,
        limit: TimeLimit,
        read: Read,
        *,
        parts: Iterable[int] | None = None,
        progress: Callable[[float, int], None] = lambda _last, _new: None,
    ) -> EncodedFrames:
        """Read frames and encode them as they come.

        Args:
            source: Whatever ``vtloc_runtime.video.open_video`` takes.
            reading: Which frames, and how to read them.
            limit: How long it may take.
            read: Where the decoding happens.
            parts: Frames after which features begin anew, as `FeatureCollector` takes them.
            progress: Called after each batch with the time of its last frame, seconds, and its
                number of frames.

        Raises:
            VideoError: The video cannot be read, or takes too long.
        """
        timer = _Timer()
        features = FeatureCollector(self.run, self.reuse, self.batch, parts)
        times: list[NDArray[np.float64]] = []
        ending = None
        began = time.perf_counter()
        for part in read(source, reading, self.batch):
            if isinstance(part, ReadingEnd):
                ending = part
                break
            times.append(part.times)
            with timer:
                features.add(part.images, part.index)
            limit.check()
            progress(float(part.times[-1]), len(part.times))
        if ending is None:
            raise VideoError("the video has no frames", where=source)
        with timer:
            rows, index = features.table()
        return EncodedFrames(
            rows,
            np.concatenate(times) if times else np.empty(0),
            ending,
            index,
            {"decode": time.perf_counter() - began - timer.seconds, "encode": timer.seconds},
        )


class _Timer:
    """Adds up the time spent inside its ``with`` blocks."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began = 0.0

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._began
