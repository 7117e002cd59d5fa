"""Plan which packets the requested instants need, from times and keyframes ahead of the decoder."""

from __future__ import annotations

import heapq
from collections import deque
from itertools import dropwhile
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vtloc_runtime.video.demuxing.packets import TimedPacket

REORDERING = 17
"""No codec lets more pictures than this (less one) overtake another."""

_HELD_PACKETS = 1024
_HELD_BYTES = 64 * 2**20
_TRIM_AT = 256


class ReorderHorizon:
    """The tick before which no further packet can be presented.

    Decode times bound it: they only rise, and nothing is shown before it is decoded. Where they
    are missing or contradict that, the earliest of the last few presentation times does.
    """

    def __init__(self) -> None:
        self._last_dts: int | None = None
        self._trusted = True
        self._recent: list[int] = []

    def advance(self, pts: int, dts: int | None) -> None:
        """Take in the next packet's times, in file order."""
        if len(self._recent) < REORDERING:
            heapq.heappush(self._recent, pts)
        else:
            heapq.heappushpop(self._recent, pts)
        if dts is None or dts > pts or (self._last_dts is not None and dts < self._last_dts):
            # A lone gap at the start is common in Matroska; any other means disorder.
            self._trusted = self._trusted and dts is None and self._last_dts is None
        else:
            self._last_dts = dts

    def passed(self, tick: int) -> bool:
        """Whether every packet shown at or before ``tick`` has been seen."""
        if self._trusted and self._last_dts is not None and self._last_dts > tick:
            return True
        return len(self._recent) == REORDERING and self._recent[0] > tick


class DecodeStep(NamedTuple):
    """What to do next.

    Attributes:
        restart: Packets were left out, so the decoder must forget what it holds first.
        packets: What to decode, in order.
    """

    restart: bool
    packets: list[TimedPacket]


class _Candidate(NamedTuple):
    """A packet that may be on screen, ordered by when it comes on."""

    pts: int
    number: int
    packet: TimedPacket


class PacketPlanner:
    """Holds packets back until it is known which of them the next instant needs.

    Args:
        packets: The pass's packets that were not decoded yet, in file order.
        midway: Reading began in the middle of the file, so the first start is waited for.

    Attributes:
        ended: Whether the file has been read to its end.
        lost: Whether the packets' times do not allow to plan any further.
    """

    def __init__(self, packets: Iterator[TimedPacket], *, midway: bool = False) -> None:
        self._packets = dropwhile(lambda packet: not packet.start, packets) if midway else packets
        self._held: deque[TimedPacket] = deque()
        self._held_bytes = 0
        self._candidates: list[_Candidate] = []
        self._horizon = ReorderHorizon()
        self._skipped = False
        self._decided_ticks = range(0)
        self.ended = False
        self.lost = False

    def observe(self, packet: TimedPacket) -> None:
        """Take in the times of a packet; one that was decoded already may still be wanted."""
        if not packet.shown:
            return
        if packet.pts is None:
            self.lost = True
            return
        # It should have been chosen for an instant already decided: the times are in no order.
        self.lost = self.lost or packet.pts in self._decided_ticks
        self._horizon.advance(packet.pts, packet.dts)
        self._candidates.append(_Candidate(packet.pts, packet.number, packet))

    def forget_before(self, tick: int) -> None:
        """Leave out packets whose pictures never come on screen."""
        self._candidates = [candidate for candidate in self._candidates if candidate.pts >= tick]

    def decided(self, tick: int) -> bool:
        """Whether the packet on screen at ``tick`` is known."""
        return self.ended or self.lost or self._horizon.passed(tick)

    def read(self, tick: int) -> DecodeStep | None:
        """Read one more packet on the way to ``tick``.

        Returns:
            What to decode at once where too much would be held otherwise.
        """
        packet = next(self._packets, None)
        if packet is None:
            self.ended = True
            return None
        self.observe(packet)
        self._held.append(packet)
        self._held_bytes += packet.packet.size
        if len(self._held) % _TRIM_AT == 0:
            self._trim(tick)
        if len(self._held) <= _HELD_PACKETS and self._held_bytes <= _HELD_BYTES:
            return None
        return self._release(len(self._held) // 2)

    def choose(self, tick: int) -> TimedPacket | None:
        """The packet whose picture is on screen at a decided tick, None where there is none."""
        chosen = self._on_screen(tick)
        if chosen is None:
            return None
        self.forget_before(chosen.pts)
        self._decided_ticks = range(chosen.pts + 1, tick + 1)
        return chosen.packet

    def need(self, wanted: TimedPacket) -> DecodeStep:
        """What to decode for a chosen packet: everything up to it that is not behind a restart."""
        start = self._start_for(wanted)
        if start is not None:
            self._drop_before(start)
        return self._release(sum(packet.number <= wanted.number for packet in self._held))

    def _on_screen(self, tick: int) -> _Candidate | None:
        past = [candidate for candidate in self._candidates if candidate.pts <= tick]
        if past:
            return max(past)
        return min(self._candidates, default=None)

    def _start_for(self, wanted: TimedPacket) -> TimedPacket | None:
        """The last place among the held packets from which the wanted one can be decoded."""
        start = None
        latest = wanted.number if wanted.pts is None else wanted.pts
        for packet in self._held:
            if packet.number > wanted.number:
                break
            if packet.start and packet.pts is not None and packet.pts <= latest:
                start = packet
        return start

    def _trim(self, tick: int) -> None:
        """Drop what no coming instant can need: all before the last start in front of it."""
        current = self._on_screen(tick)
        if current is None:
            return
        self.forget_before(current.pts)
        start = self._start_for(min(self._candidates).packet)
        if start is not None:
            self._drop_before(start)

    def _drop_before(self, start: TimedPacket) -> None:
        while self._held and self._held[0].number < start.number:
            self._held_bytes -= self._held.popleft().packet.size
            self._skipped = True

    def _release(self, count: int) -> DecodeStep:
        released = [self._held.popleft() for _ in range(count)]
        self._held_bytes -= sum(packet.packet.size for packet in released)
        restart = self._skipped and bool(released)
        self._skipped = self._skipped and not released
        return DecodeStep(restart, released)
