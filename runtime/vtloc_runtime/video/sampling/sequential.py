"""Decode everything in order: the reference for what is on screen, and the fallback."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import av

    from vtloc_runtime.video.demuxing.demux import DemuxPass


_MOST_TIMES = 1024


class Shown(NamedTuple):
    """A picture and the tick it comes on screen."""

    pts: int
    picture: av.VideoFrame


class _BelievedTimes:
    """Which of a picture's two times to believe: the one that has repeated or fallen less often.

    Both must rise as pictures come out. Old recordings hold presentation times that do not.
    """

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._faults = {"pts": 0, "dts": 0}

    def time_of(self, picture: av.VideoFrame) -> int | None:
        times = {"pts": picture.pts, "dts": picture.dts}
        for name, time in times.items():
            if time is not None:
                self._faults[name] += time <= self._last.get(name, time - 1)
                self._last[name] = time
        trust_pts = self._faults["pts"] <= self._faults["dts"] or times["dts"] is None
        return times["pts"] if trust_pts and times["pts"] is not None else times["dts"]


class SequentialDecoder:
    """Every picture of a pass in order; knows what is on screen at a tick.

    Args:
        stream_pass: The pass to decode.
        midway: The pass begins in the middle of the file, so the first keyframe is waited for.
    """

    def __init__(self, stream_pass: DemuxPass, *, midway: bool = False) -> None:
        self._pass = stream_pass
        self._waiting = midway
        self._reading_only = False
        self._believed = _BelievedTimes()
        self._times: list[int] = []
        self._pictures = self._decode()
        self._step = stream_pass.timestamps.ticks(
            1 / Fraction(stream_pass.stream.average_rate or 25)
        )
        self._expected: int | None = None
        self._current: Shown | None = None
        self._next: Shown | None = None
        self.ended = False
        self.first: Shown | None = None

    @property
    def end(self) -> int | None:
        """The tick at which the last picture so far leaves the screen."""
        if self._pass.end is None or self._expected is None:
            return self._expected if self._pass.end is None else self._pass.end
        # Without presentation times the pictures know better than the packets.
        return max(self._pass.end, self._expected) if self._pass.untimed else self._pass.end

    @property
    def position(self) -> int | None:
        """The tick of the picture on screen after the last question."""
        return None if self._current is None else self._current.pts

    def at(self, tick: int) -> Shown | None:
        """The picture on screen at a tick, which must not lie before an earlier question's.

        Before the first picture that is the first one; None where nothing can be decoded.
        """
        while not self.ended and (self._next is None or self._next.pts <= tick):
            self._advance()
        if self._next is not None and self._current is None:
            return self._next
        return self._current

    def start(self) -> Shown | None:
        """The first picture that comes out, None where none does."""
        if self.first is None and not self.ended:
            self._advance()
        return self.first

    def finish(self) -> None:
        """Read the rest of the file without decoding it, so that ``end`` is the video's."""
        self._reading_only = True
        while not self.ended:
            self._advance()

    def _advance(self) -> None:
        if self._next is not None:
            self._current = self._next
        self._next = next(self._pictures, None)
        self.ended = self._next is None
        if self.first is None:
            self.first = self._next

    def _decode(self) -> Iterator[Shown]:
        for timed in self._pass.packets():
            self._waiting = self._waiting and not timed.start
            if self._waiting or self._reading_only:
                continue
            if timed.shown and timed.pts is not None and len(self._times) < _MOST_TIMES:
                heapq.heappush(self._times, timed.pts)
            yield from self._stamp(self._pass.decode(timed.packet))
        yield from self._stamp(self._pass.decode(None))

    def _stamp(self, pictures: list[av.VideoFrame]) -> Iterator[Shown]:
        """Pictures with their times; one without follows on from the one before it."""
        for picture in pictures:
            time = self._believed.time_of(picture)
            earliest = heapq.heappop(self._times) if self._times else None
            if self._pass.times_in_decode_order and earliest is not None:
                time = earliest
            if time is None:
                time = self._expected or 0
            self._expected = time + (picture.duration or self._step)
            yield Shown(time, picture)
