"""The display clock: unwrapped container timestamps, counted from the start of the video."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

_LATE_START = Fraction(1, 10)
_BACKWARD_JUMP = Fraction(1, 2)
_FORWARD_JUMP = Fraction(10)
_BROADCAST_FORMATS = {"mpegts", "mpeg", "flv", "live_flv", "wtv", "mpegtsraw"}
_MICROSECOND = Fraction(1, 1_000_000)


class TimestampUnwrapper:
    """Unwraps the timestamps of one pass over a file.

    Recordings that were joined end to end start over in the middle. In transport streams the jump
    shows in decode times, which only ever rise within one recording, either way. In other formats
    only a keyframe that lies clearly before what was read begins a new recording: gaps there are
    meant. Everything after a jump is shifted to follow on.

    Attributes:
        jumps: How often the timestamps started over.
        step: How long the last packet's picture stays, ticks.
    """

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        self._time_base = stream.time_base or Fraction(1, 90_000)
        self._broadcast = bool(_BROADCAST_FORMATS & set(container.format.name.split(",")))
        self._offset = 0
        self._last: int | None = None
        self._end: int | None = None
        self.step = self.ticks(1 / Fraction(stream.average_rate or 25))
        self._backward, self._forward = self.ticks(_BACKWARD_JUMP), self.ticks(_FORWARD_JUMP)
        self.jumps = 0

    @property
    def time_base(self) -> Fraction:
        """Seconds in a tick."""
        return self._time_base

    @property
    def repeats(self) -> bool:
        """Whether one raw timestamp may stand for several places in the file."""
        return self._broadcast or self.jumps > 0

    def ticks(self, seconds: Fraction) -> int:
        """The last tick that is not after ``seconds``."""
        return int(seconds // self._time_base)

    def unwrap(self, packet: Packet[VideoStream]) -> None:
        """Shift a packet's times, in place, to follow on from the packets before it."""
        if packet.duration:
            self.step = packet.duration
        raw = packet.dts if packet.dts is not None else packet.pts
        if raw is None or packet.is_discard:
            return
        if self._broadcast:
            self._follow_broadcast(raw)
        else:
            self._follow_recording(packet, raw)
        if self._offset:
            packet.pts = None if packet.pts is None else packet.pts + self._offset
            packet.dts = None if packet.dts is None else packet.dts + self._offset
        shown = raw + self._offset if packet.pts is None else packet.pts
        self._end = shown if self._end is None else max(self._end, shown)

    def _follow_broadcast(self, raw: int) -> None:
        time = raw + self._offset
        if self._last is not None and not -self._backward <= time - self._last <= self._forward:
            self._offset += self._last + self.step - time
            self.jumps += 1
            time = self._last + self.step
        self._last = time

    def _follow_recording(self, packet: Packet[VideoStream], raw: int) -> None:
        if self._last is None or self._end is None:
            self._last = raw
        elif packet.is_keyframe and raw < self._last - self._backward:
            first = packet.pts if packet.pts is not None else raw
            self._offset = self._end + self.step - first
            self.jumps += 1
            self._last = raw
        else:
            self._last = max(self._last, raw)


@dataclass(frozen=True, slots=True)
class DisplayClock:
    """Converts timestamps to seconds as a player shows them.

    Attributes:
        origin: Second of the container's time at which the shown clock reads zero.
        time_base: Seconds in a tick of the container's time.
    """

    origin: Fraction
    time_base: Fraction

    @classmethod
    def starting(
        cls, container: InputContainer, first_shown: int, time_base: Fraction
    ) -> DisplayClock:
        """The clock that reads zero at the first picture, or at the sound if that is well before.

        Args:
            container: The open file.
            first_shown: The tick of the first picture that is shown.
            time_base: Seconds in a tick.
        """
        origin = first_shown * time_base
        start_time = cast("int | None", container.start_time)
        if start_time is not None and origin - start_time * _MICROSECOND > _LATE_START:
            origin = start_time * _MICROSECOND
        return cls(origin, time_base)

    def tick(self, seconds: Fraction) -> int:
        """The last tick that is not after ``seconds``."""
        return int((self.origin + seconds) // self.time_base)

    def seconds(self, tick: int) -> float:
        """What the clock reads at a tick."""
        return float(tick * self.time_base - self.origin)
