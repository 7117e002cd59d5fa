"""Long videos in parts, so that all workers can read and encode one video together."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from vtloc_runtime.errors import VideoError
from vtloc_runtime.localize.encoding.frame_encoder import EncodedFrames
from vtloc_runtime.localize.encoding.frame_features import PART, joined
from vtloc_runtime.video.decoders.choice import PROCESSOR
from vtloc_runtime.video.isolation.chunks import Read

if TYPE_CHECKING:
    from vtloc_runtime.localize.encoding.frame_encoder import FrameEncoder, TimeLimit
    from vtloc_runtime.video import VideoOptions
    from vtloc_runtime.video.isolation.chunks import Reading, ReadingEnd

PartWork: TypeAlias = Callable[[Read, int, int], None]
"""Reads and encodes consecutive parts, given the first and the one after the last."""

Instants: TypeAlias = tuple[float | Fraction, ...]
"""Seconds at which a video is looked at, ascending."""

_DEAREST = 0.15
"""Most that may be decoded twice where parts meet, as a share of all."""

_WORTH_DIVIDING = 2 * 2**20
"""Bytes of a file below which a video is too short to divide."""

_PAST_THE_END = 16
"""Frames that the last part asks for beyond the end that the outline names."""


@dataclass(frozen=True, slots=True)
class SharedRead:
    """A way to read videos whose parts other workers may take.

    Attributes:
        read: This worker's own way to read videos.
        share: Does so many parts, here and wherever a worker is idle; returns when all are done,
            and raises the first error.
    """

    read: Read
    share: Callable[[int, PartWork], None]

    def __call__(self, source: Any, options: VideoOptions, size: int) -> Reading:
        """Read a video here."""
        return self.read(source, options, size)


@dataclass(frozen=True, slots=True)
class FrameRange:
    """Consecutive frames of a video.

    Attributes:
        start: The first, counted from 0.
        stop: The one after the last.
    """

    start: int
    stop: int

    def instants(self, rate: Fraction) -> tuple[Fraction, ...]:
        """When they are sampled, seconds."""
        return tuple(number / rate for number in range(self.start, self.stop))


@dataclass(frozen=True, slots=True)
class FileMark:
    """Tells whether a file is still the one that was opened first."""

    device: int
    inode: int
    size: int
    modified: int

    @classmethod
    def from_source(cls, source: Any) -> FileMark | None:
        """The mark of a file that can be opened several times; None for anything else."""
        if not isinstance(source, str | os.PathLike):
            return None
        try:
            state = os.stat(source)  # noqa: PTH116 - names come from users
        except (OSError, ValueError):
            return None
        return cls(state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns)


def divide(outline: ReadingEnd, rate: Fraction) -> list[FrameRange]:
    """Divide a video into parts that can be read on their own; one part where it cannot be.

    Parts begin at multiples of `PART` frames. Where no keyframe is near such a place, the parts
    on both sides of it are read as one.

    Args:
        outline: The video's length and keyframes.
        rate: Frames a second.
    """
    frames = max(1, math.ceil(Fraction(outline.duration) * rate))
    whole = FrameRange(0, frames + _PAST_THE_END)
    if not len(outline.keyframes):
        return [whole]
    starts = [0]
    for start in range(PART, frames, PART):
        place = int(np.searchsorted(outline.keyframes, float(start / rate), side="right")) - 1
        again = float(start / rate) - float(outline.keyframes[max(place, 0)])
        if again <= _DEAREST * float((start - starts[-1]) / rate):
            starts.append(start)
    stops = [*starts[1:], whole.stop]
    return [FrameRange(start, stop) for start, stop in zip(starts, stops, strict=True)]


def read_outline(
    encoder: FrameEncoder, source: Any, reading: VideoOptions, limit: TimeLimit, read: Read
) -> ReadingEnd:
    """The length of a video and its keyframes, found without decoding it.

    Raises:
        VideoError: The video cannot be read.
    """
    return encoder.encode(source, replace(reading, strategy="outline"), limit, read).ending


def encode_parts(
    encoder: FrameEncoder,
    source: Any,
    reading: VideoOptions,
    limit: TimeLimit,
    read: SharedRead,
    *,
    progress: Callable[[float], None],
) -> EncodedFrames | None:
    """Encode a video in parts, here and wherever a worker is idle.

    Args:
        encoder: Encodes frames.
        source: Whatever ``vtloc_runtime.video.open_video`` takes.
        reading: How to read the video.
        limit: How long it may take.
        read: Reads it, and shares the work.
        progress: Called with the seconds that are encoded, of all parts together.

    Returns:
        Its frames; None where only reading the video as a whole can be right.

    Raises:
        VideoError: It cannot be read, or takes too long.
    """
    mark = FileMark.from_source(source)
    if mark is None or mark.size < _WORTH_DIVIDING or reading.decoder != PROCESSOR:
        return None
    try:
        outline = read_outline(encoder, source, reading, limit, read.read)
    except VideoError:
        return None
    parts = [part.instants(reading.rate) for part in divide(outline, reading.rate)]
    if len(parts) < 2 or sum(map(len, parts[:-1])) > reading.limits.frames:
        return None
    count = _Progress(reading.rate, progress)

    def encode(own: Read, first: int, stop: int) -> EncodedFrames:
        own_frames = replace(limit.left(reading), instants=joined_instants(parts[first:stop]))
        return encoder.encode(
            source, own_frames, limit, own, progress=lambda _, new: count.add(new)
        )

    frames = _shared_out(encode, parts, read, open_end=True)
    if frames is None or FileMark.from_source(source) != mark:
        return None
    # Parts are read by instants, which tell nothing of keyframes.
    return replace(frames, ending=replace(frames.ending, keyframes=outline.keyframes))


def look_at_parts(
    encoder: FrameEncoder,
    source: Any,
    parts: Sequence[Instants],
    reading: VideoOptions,
    limit: TimeLimit,
    *,
    read: Read,
) -> EncodedFrames:
    """Encode what a video shows at some instants, where workers can share them in parts.

    Args:
        encoder: Encodes frames.
        source: Whatever ``vtloc_runtime.video.open_video`` takes.
        parts: The instants, seconds, ascending; the features of a part depend on nothing outside
            it.
        reading: How to read the video.
        limit: How long it may take.
        read: Where the decoding happens.

    Raises:
        VideoError: It cannot be read, or takes too long.
    """

    def encode(own: Read, first: int, stop: int) -> EncodedFrames:
        some = parts[first:stop]
        own_frames = replace(limit.left(reading), instants=joined_instants(some))
        return encoder.encode(source, own_frames, limit, own, parts=map(len, some))

    divisible = len(parts) > 1 and reading.decoder == PROCESSOR
    if isinstance(read, SharedRead) and divisible and FileMark.from_source(source) is not None:
        frames = _shared_out(encode, parts, read, open_end=False)
        if frames is not None:
            return frames
    return encode(read, 0, len(parts))


def joined_instants(parts: Sequence[Instants]) -> Instants:
    """The instants of consecutive parts."""
    return tuple(chain.from_iterable(parts))


def _shared_out(
    encode: Callable[[Read, int, int], EncodedFrames],
    parts: Sequence[Instants],
    read: SharedRead,
    *,
    open_end: bool,
) -> EncodedFrames | None:
    """Encode parts here and wherever a worker is idle.

    Args:
        encode: Encodes consecutive parts.
        parts: Their instants.
        read: Reads them, and shares the work.
        open_end: Whether the last part may have fewer frames than instants.

    Returns:
        The frames in order; None where the parts do not make the whole.
    """
    found: dict[int, EncodedFrames] = {}

    def work(own: Read, first: int, stop: int) -> None:
        frames = encode(own, first, stop)
        whole = len(frames) == sum(map(len, parts[first:stop]))
        if not (len(frames) if open_end and stop == len(parts) else whole):
            raise _IndivisibleError
        found[first] = frames
        if any(frames.ending != other.ending for other in tuple(found.values())):
            # What was damaged, and where, the whole video tells rightly.
            raise _IndivisibleError

    try:
        read.share(len(parts), work)
    except _IndivisibleError:
        return None
    return _joined([found.pop(first) for first in sorted(found)])


def _joined(parts: list[EncodedFrames]) -> EncodedFrames:
    """The frames of some parts, in order; the list is emptied."""
    times = np.concatenate([part.times for part in parts])
    timings = {stage: sum(part.timings[stage] for part in parts) for stage in parts[0].timings}
    ending = parts[0].ending
    tables = [(part.rows, part.index) for part in parts]
    parts.clear()
    rows, index = joined(tables, len(times))
    return EncodedFrames(rows, times, ending, index, timings)


class _IndivisibleError(Exception):
    """The parts of a video do not make the whole."""


class _Progress:
    """Adds up the frames of all parts, and says how far the video has come."""

    def __init__(self, rate: Fraction, progress: Callable[[float], None]) -> None:
        self._rate = rate
        self._progress = progress
        self._lock = threading.Lock()
        self._frames = 0

    def add(self, frames: int) -> None:
        """Count more frames."""
        with self._lock:
            self._frames += frames
            self._progress(float(self._frames / self._rate))
