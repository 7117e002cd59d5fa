"""Read from coded bytes where decoding can start, and which pictures nothing refers to.

Containers mark keyframes loosely, and most say nothing about references. A few header bits do.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import TYPE_CHECKING

from vtloc_runtime.video.codecs.av1 import UnreferencedUnits

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream

_START_CODE = b"\x00\x00\x01"
_SLICE, _IDR_SLICE, _SEI = 1, 5, 6
_RECOVERY_POINT = 6
_HEVC_SPS = 33

# Codecs whose keyframes truly restart the picture. Others (GIF paints over what was there) are
# decoded from the start.
_RESTARTABLE_CODECS = frozenset({
    "h264", "hevc", "av1", "vp8", "vp9", "mpeg1video", "mpeg2video", "mpeg4", "mjpeg", "prores",
    "dnxhd", "ffv1", "h263", "flv1", "theora", "wmv2", "msmpeg4v2", "msmpeg4v3", "rawvideo",
})  # fmt: skip


class SkipMode(Enum):
    """How to skip non-reference pictures."""

    NONE = "decode them all"
    SKIP = "let the decoder skip them"
    DROP = "keep them from the decoder"


class Bitstream:
    """The rules of one stream's codec.

    Args:
        context: The stream's decoder, not necessarily open.
    """

    def __init__(self, context: VideoCodecContext) -> None:
        self.codec = context.codec.canonical_name
        self._extradata = context.extradata or b""
        self.restartable = self.codec in _RESTARTABLE_CODECS
        self.skip_mode = self._skip_mode()
        self._units = UnreferencedUnits(self._extradata)

    def starts_here(self, packet: Packet[VideoStream]) -> bool:
        """Whether a decoder that starts at this keyframe shows it and all after it rightly."""
        if not self.restartable:
            return False
        if self.codec == "h264":
            return any(_restarts(kind, body) for kind, body in self._h264_units(memoryview(packet)))
        return True

    def unreferenced(self, packet: Packet[VideoStream]) -> bool:
        """Whether the packet can be kept from the decoder without changing another picture.

        Ask about every packet, in order: headers on the way are remembered.
        """
        return self.skip_mode is SkipMode.DROP and self._units.droppable(bytes(packet))

    def _skip_mode(self) -> SkipMode:
        if self.codec in {"h264", "mpeg1video", "mpeg2video", "mpeg4"}:
            return SkipMode.SKIP
        if self.codec == "hevc" and _temporal_layers(self._extradata) == 1:
            # In higher layers a picture may refer to one marked "not for reference" below it.
            return SkipMode.SKIP
        return SkipMode.DROP if self.codec == "av1" else SkipMode.NONE

    def _h264_units(self, data: memoryview) -> Iterator[tuple[int, bytes]]:
        """Type and first bytes of each unit, up to the first slice."""
        if self._extradata[:1] == b"\x01" and len(self._extradata) > 4:
            units = _prefixed_units(data, (self._extradata[4] & 3) + 1)
        else:
            units = _marked_units(bytes(data))
        for unit in units:
            kind = unit[0] & 31 if unit else 0
            yield kind, unit[1:]
            if kind in (_SLICE, _IDR_SLICE):
                return


def _restarts(kind: int, body: bytes) -> bool:
    """Whether this unit says that decoding starts here: a reset, or recovery at once."""
    if kind == _IDR_SLICE:
        return True
    if kind != _SEI:
        return False
    position = 0
    while position + 2 < len(body):
        payload, position = _accumulate(body, position)
        size, position = _accumulate(body, position)
        if payload == _RECOVERY_POINT:
            # recovery_frame_cnt is an Exp-Golomb number: a leading 1 bit means zero.
            return position < len(body) and bool(body[position] & 0x80)
        position += size
    return False


def _accumulate(body: bytes, position: int) -> tuple[int, int]:
    """An SEI number: bytes of 255 add up until a smaller one ends it."""
    value = 0
    while position < len(body):
        byte = body[position]
        position += 1
        value += byte
        if byte != 0xFF:
            break
    return value, position


def _prefixed_units(data: memoryview, length_size: int) -> Iterator[bytes]:
    position = 0
    while position + length_size < len(data):
        length = int.from_bytes(data[position : position + length_size], "big")
        position += length_size
        yield bytes(data[position : position + min(length, 4096)])
        position += length


def _marked_units(data: bytes) -> Iterator[bytes]:
    position = data.find(_START_CODE)
    while position >= 0:
        start = position + len(_START_CODE)
        position = data.find(_START_CODE, start)
        yield data[start : position if position >= 0 else start + 4096]


def _temporal_layers(extradata: bytes) -> int | None:
    """Temporal layers of an HEVC stream, None where its headers do not tell."""
    if extradata[:1] == b"\x01" and len(extradata) > 21:
        return (extradata[21] >> 3) & 7 or None
    for unit in _marked_units(extradata):
        if len(unit) > 2 and (unit[0] >> 1) & 63 == _HEVC_SPS:
            return ((unit[2] >> 1) & 7) + 1
    return None
