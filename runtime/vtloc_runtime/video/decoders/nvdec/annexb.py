"""Packets as NVDEC wants them: marked units, parameter sets in front, and what may be left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import av
from av.bitstream import BitStreamFilterContext

from vtloc_runtime.video.codecs.bit_reader import BitReader

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.stream import VideoStream

_START_CODE = b"\x00\x00\x01"
_UNIT_HEAD = 8
_H264_PARAMETERS, _H264_SEQUENCE, _H264_SLICES = {7, 8}, 7, {1, 2, 5}
_HEVC_PARAMETERS, _HEVC_SEQUENCE, _HEVC_SLICES = {32, 33, 34}, 33, range(32)
_HEVC_UNREFERENCED = {0, 2, 4, 6, 8}
_AV1_SEQUENCE = 1
_AV1_CONFIGURATION_SIZE = 4
_VP8_KEY_CODE = b"\x9d\x01\x2a"
_VP9_MARKER, _VP9_SYNC = 2, 0x498342
_FILTERS = {"h264": "h264_mp4toannexb", "hevc": "hevc_mp4toannexb"}


class CodedPackets:
    """Turns a stream's packets into what the parser of NVDEC takes, and reads their headers.

    Args:
        stream: The stream, of a codec in `nvdec_api.CODECS`.
    """

    def __init__(self, stream: VideoStream) -> None:
        self._codec = stream.codec_context.codec.canonical_name
        name = _FILTERS.get(self._codec)
        self._filter = BitStreamFilterContext(name, stream) if name else None
        self._parameters = b""
        if self._codec == "av1":
            self._parameters = (stream.codec_context.extradata or b"")[_AV1_CONFIGURATION_SIZE:]

    def convert(self, packet: Packet[VideoStream]) -> bytes:
        """A packet's bytes, H.264 and HEVC with start codes; the packet itself is left alone."""
        data = bytes(packet)
        if self._filter is None:
            return data
        # The filter empties what it is given.
        return b"".join(bytes(part) for part in self._filter.filter(av.Packet(data)))

    def headers(self, data: bytes) -> bytes | None:
        """What says how large pictures are from here on, None where the packet does not tell.

        Args:
            data: Converted bytes; parameter sets among them are remembered.
        """
        if self._codec == "vp8":
            return _vp8_size(data)
        if self._codec == "vp9":
            return _vp9_size(data)
        if self._codec == "av1":
            headers = b"".join(unit for kind, unit in _av1_units(data) if kind == _AV1_SEQUENCE)
            self._parameters = headers or self._parameters
            return headers or None
        kinds, sequence = (
            (_H264_PARAMETERS, _H264_SEQUENCE)
            if self._codec == "h264"
            else (_HEVC_PARAMETERS, _HEVC_SEQUENCE)
        )
        sets = [unit for unit in _leading_units(data, self._codec) if self._kind(unit) in kinds]
        sequences = [unit for unit in sets if self._kind(unit) == sequence]
        if not sequences:
            return None
        self._parameters = b"".join(b"\x00" + _START_CODE + unit for unit in sets)
        return b"".join(sequences)

    @property
    def parameters(self) -> bytes:
        """Parameter sets that were met last."""
        return self._parameters

    def restart(self, data: bytes) -> bytes:
        """A packet to begin with, the parameter sets that it relies on in front."""
        return data if self.headers(data) is not None else self._parameters + data

    def unreferenced(self, data: bytes) -> bool:
        """Whether no other picture refers to this one, as far as two header bits tell."""
        if self._codec not in _FILTERS:
            return False
        for unit in _leading_units(data, self._codec):
            kind = self._kind(unit)
            if self._codec == "h264" and kind in _H264_SLICES:
                return not unit[0] & 0x60
            if self._codec == "hevc" and kind in _HEVC_SLICES:
                return kind in _HEVC_UNREFERENCED
        return False

    def _kind(self, unit: bytes) -> int:
        return unit[0] & 31 if self._codec == "h264" else (unit[0] >> 1) & 63


def _leading_units(data: bytes, codec: str) -> Iterator[bytes]:
    """The units up to the first slice; of that one only the beginning."""
    position = data.find(_START_CODE)
    while position >= 0:
        start = position + len(_START_CODE)
        head = data[start : start + _UNIT_HEAD]
        if not head:
            return
        slices = head[0] & 31 in _H264_SLICES if codec == "h264" else head[0] >> 1 & 63 < 32
        if slices:
            yield head
            return
        position = data.find(_START_CODE, start)
        # A start code may have four bytes; the first is not part of the unit before it.
        yield data[start : position if position >= 0 else len(data)].rstrip(b"\x00")


def _av1_units(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and bytes of each unit that says its size."""
    position = 0
    while position < len(data):
        first, start = data[position], position
        position += 2 if first & 4 else 1
        if not first & 2:
            return
        size = shift = 0
        while position < len(data):
            byte = data[position]
            position += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
        position += size
        yield (first >> 3) & 15, data[start:position]


def _vp8_size(data: bytes) -> bytes | None:
    """Width and height of a keyframe, as its header holds them."""
    is_key = len(data) >= 10 and not data[0] & 1 and data[3:6] == _VP8_KEY_CODE
    return data[6:10] if is_key else None


def _vp9_size(data: bytes) -> bytes | None:
    """Width and height where a frame states its own, None where it has those of a reference."""
    bits = BitReader(data[:32])
    try:
        if bits.take(2) != _VP9_MARKER:
            return None
        profile = bits.take(1) | bits.take(1) << 1
        if (profile == 3 and bits.take(1)) or bits.take(1):
            return None
        inter, shown, resilient = bits.take(1), bits.take(1), bits.take(1)
        if inter:
            intra_only = 0 if shown else bits.take(1)
            if not resilient:
                bits.take(2)
            if not intra_only:
                return _vp9_inter_size(bits)
        if bits.take(24) != _VP9_SYNC:
            return None
        if not inter or profile > 0:
            _skip_vp9_colours(bits, profile)
        if inter:
            bits.take(8)
        return bits.take(32).to_bytes(4, "big")
    except EOFError:
        return None


def _vp9_inter_size(bits: BitReader) -> bytes | None:
    bits.take(8 + 3 * 4)
    if any(bits.take(1) for _ in range(3)):
        return None
    return bits.take(32).to_bytes(4, "big")


def _skip_vp9_colours(bits: BitReader, profile: int) -> None:
    if profile >= 2:
        bits.take(1)
    srgb = bits.take(3) == 7
    if not srgb:
        bits.take(1)
    if profile in (1, 3):
        bits.take(1 if srgb else 3)
