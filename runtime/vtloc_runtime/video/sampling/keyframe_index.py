"""The keyframes that a file's index names: where reading can begin without all that is before."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, cast

import numpy as np

from vtloc_runtime.video.demuxing.demux import DemuxPass

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from vtloc_runtime.video.demuxing.timestamps import DisplayClock
    from vtloc_runtime.video.options import VideoOptions

_PAST_THE_END = 10

SUDDEN = 0.5
"""The share of a keyframe's bytes from which a picture after it is taken to begin a scene."""


@dataclass(frozen=True, slots=True)
class KeyframeIndex:
    """Keyframes by their place in the file's index.

    Attributes:
        ticks: Where the index places each keyframe, ascending.
        seconds: When each comes on screen, on the shown clock; an index that holds decode times
            is off by a few pictures.
    """

    ticks: tuple[int, ...]
    seconds: tuple[Fraction, ...]

    @classmethod
    def read(
        cls, stream_pass: DemuxPass, options: VideoOptions, clock: DisplayClock, first: int
    ) -> KeyframeIndex:
        """The index of a file; an empty one where it has none.

        Args:
            stream_pass: A pass over the file; it is left as it is.
            options: How the file is read.
            clock: The shown clock.
            first: The tick at which the first picture comes on screen.
        """
        ticks = stream_pass.indexed_keyframes()
        if "matroska" in stream_pass.container.format.name:
            # Matroska's index is read with the first jump.
            other = DemuxPass(stream_pass.source, options)
            try:
                jump_to_end(other)
                ticks = other.indexed_keyframes()
            finally:
                other.close()
        ticks = sorted(set(ticks))
        seconds = ((first + tick - ticks[0]) * clock.time_base - clock.origin for tick in ticks)
        return cls(tuple(ticks), tuple(seconds))

    def listed(self, options: VideoOptions) -> NDArray[np.float64]:
        """``[K]``, the seconds of keyframes, at most two in the time of one sample.

        Args:
            options: How densely the file is sampled, and how long it may be.
        """
        return _spread(self.seconds, options)

    def hidden_cuts(
        self, packets: Iterable[tuple[int, int, bool]], options: VideoOptions, tick_length: Fraction
    ) -> NDArray[np.float64]:
        """``[H]``, the seconds at which scenes seem to begin between keyframes.

        The first picture of a scene has little in common with those before it, and takes nearly as
        many bytes as a keyframe. Of pictures that follow one another so, the first counts. Times
        are at most a few pictures early, and at most two in the time of one sample.

        Args:
            packets: Time in ticks, size in bytes and whether it is a keyframe, of every packet.
            options: How densely the file is sampled, and how long it may be.
            tick_length: Seconds of a tick.
        """
        if not self.ticks:
            return np.empty(0)
        found: list[int] = []
        last, whole = None, 0
        for tick, size, keyframe in packets:
            if keyframe:
                whole = size
            elif whole and size > SUDDEN * whole:
                if last is None or 2 * (tick - last) * tick_length > 1:
                    found.append(tick)
                last = tick
        begin = self.seconds[0]
        seconds = (begin + (tick - self.ticks[0]) * tick_length for tick in sorted(found))
        return _spread(seconds, options)

    def at(self, second: Fraction) -> int | None:
        """Which keyframe is the last that comes on screen no later than a second."""
        place = bisect_right(self.seconds, second) - 1
        return place if place >= 0 else None

    def seek(self, stream_pass: DemuxPass, place: int) -> bool:
        """Go to a keyframe, by its place in the index; whether the file could."""
        # Whether the index and the search in it go by decode time or by when pictures come on
        # differs between formats: just before the next keyframe is right for all.
        last = place + 1 == len(self.ticks)
        second = stream_pass.timestamps.ticks(Fraction(1))
        tick = self.ticks[place] + second if last else self.ticks[place + 1] - 1
        return stream_pass.seek(tick)

    def is_behind(self, tick: int | None) -> bool:
        """Whether all keyframes come before a tick."""
        return not self.ticks or (tick is not None and self.ticks[-1] <= tick)

    def between(self, earlier: Fraction, later: Fraction) -> bool:
        """Whether a keyframe comes on screen after one second and no later than another."""
        return later > earlier and self.at(earlier) != self.at(later)


def indexed_keyframes(
    stream_pass: DemuxPass, options: VideoOptions, clock: DisplayClock, first: int
) -> NDArray[np.float64]:
    """What `KeyframeIndex.listed` gives for a file that is sampled evenly.

    Empty where some instants are asked for, or the file has no index.

    Args:
        stream_pass: A pass over the file; it is left as it is.
        options: How the file is read.
        clock: The shown clock.
        first: The tick at which the first picture comes on screen.
    """
    even = options.instants is None and options.strategy in {"needed", "everything"}
    if not even or not stream_pass.seeks_exactly:
        return np.empty(0)
    return KeyframeIndex.read(stream_pass, options, clock, first).listed(options)


def _spread(seconds: Iterable[Fraction], options: VideoOptions) -> NDArray[np.float64]:
    """Ascending times within the limit, of which at most two lie in the time of one sample."""
    apart = 1 / (2 * float(options.rate))
    kept: list[float] = []
    for second in seconds:
        if second > options.limits.seconds:
            break
        if not kept or float(second) - kept[-1] >= apart:
            kept.append(max(0.0, float(second)))
    return np.array(kept, dtype=np.float64)


def jump_to_end(stream_pass: DemuxPass) -> bool:
    """Go to the last keyframe of a file; whether it could."""
    container = stream_pass.container
    length = container.duration
    start = cast("int | None", container.start_time) or 0
    if length is None:
        return False
    seconds = Fraction(start + length, 1_000_000) + _PAST_THE_END
    return stream_pass.seek(stream_pass.timestamps.ticks(seconds))
