"""Packets and decoded pictures with their times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.stream import VideoStream

    from vtloc_runtime.video.picture.orientation import Geometry

NO_PACKET = -1
"""The number of a packet that is not known."""


class PictureMark(NamedTuple):
    """Metadata that a packet passes on to its decoded picture.

    Attributes:
        number: The number of the packet that it came from.
        geometry: Its shape on screen.
    """

    number: int
    geometry: Geometry


class TimedPacket(NamedTuple):
    """A packet with unwrapped times.

    Attributes:
        number: Its place in this pass.
        pts: When its picture comes on screen, ticks; None where the file does not say.
        dts: When it is decoded, ticks; None where the file does not say.
        start: Whether decoding can start here, and shows this and all after it rightly.
        shown: Whether its picture is to be shown; edit lists cut some.
        packet: The packet itself.
    """

    number: int
    pts: int | None
    dts: int | None
    start: bool
    shown: bool
    packet: Packet[VideoStream]


@dataclass(slots=True)
class DecodeStats:
    """Counts of damaged packets and pictures in a pass.

    Attributes:
        damaged: Packets that could not be decoded.
        unreadable: Places where the container itself could not be read.
        corrupt: Packets that the container marks as incomplete.
    """

    damaged: int = 0
    unreadable: int = 0
    corrupt: int = 0
