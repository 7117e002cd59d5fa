"""Find AV1 temporal units that no later picture refers to.

The decoder offers no way to skip them, so they are recognised here by their frame header's
``refresh_frame_flags``: none set means that nothing of the picture is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from vtloc_runtime.video.codecs.bit_reader import BitReader

_SEQUENCE_HEADER, _FRAME_HEADER, _FRAME = 1, 3, 6
_KEY_FRAME, _INTRA_ONLY_FRAME, _SWITCH_FRAME = 0, 2, 3
_SELECT = 2
_CONFIGURATION_SIZE = 4


class _Unsupported(Exception):  # noqa: N818 - a signal between functions, never raised to callers
    """A header that this parser does not support."""


@dataclass(frozen=True, slots=True)
class _Sequence:
    """The fields of the sequence header that a frame header's layout depends on."""

    screen_content_tools: int
    integer_mv: int
    frame_id_bits: int
    order_hint_bits: int


class UnreferencedUnits:
    """Recognises temporal units that only show a picture.

    Args:
        extradata: The ``av1C`` box, whose units may hold the sequence header.
    """

    def __init__(self, extradata: bytes) -> None:
        self._sequence: _Sequence | None = None
        self._learn(extradata[_CONFIGURATION_SIZE:])

    def droppable(self, unit: bytes) -> bool:
        """Whether the unit can be left out without changing any other picture."""
        frames = 0
        try:
            for kind, body in _units(unit):
                if kind == _SEQUENCE_HEADER:
                    self._sequence = _sequence(BitReader(body[:256]))
                    return False
                if kind in (_FRAME_HEADER, _FRAME):
                    if self._sequence is None or _refreshes(BitReader(body[:64]), self._sequence):
                        return False
                    frames += 1
        except (_Unsupported, EOFError):
            return False
        return frames > 0

    def _learn(self, data: bytes) -> None:
        try:
            for kind, body in _units(data):
                if kind == _SEQUENCE_HEADER:
                    self._sequence = _sequence(BitReader(body[:256]))
        except (_Unsupported, EOFError):
            self._sequence = None


def _units(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and body of each open bitstream unit."""
    position = 0
    while position < len(data):
        header = data[position]
        extended, sized = header & 4, header & 2
        if extended or not sized:
            # Scalable streams hold several pictures a unit.
            raise _Unsupported
        size, position = _leb128(data, position + 1)
        yield (header >> 3) & 15, data[position : position + size]
        position += size


def _leb128(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 56, 7):
        if position >= len(data):
            raise _Unsupported
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if not byte & 128:
            return value, position
    raise _Unsupported


def _sequence(bits: BitReader) -> _Sequence:
    """The AV1 specification's ``sequence_header_obu``, as far as it is needed."""
    bits.take(3 + 1)
    if bits.take(1):  # reduced_still_picture_header
        raise _Unsupported
    if bits.take(1):  # timing_info_present_flag
        _skip_timing(bits)
    _skip_operating_points(bits)
    width_bits, height_bits = bits.take(4) + 1, bits.take(4) + 1
    bits.take(width_bits)
    bits.take(height_bits)
    frame_id_bits = 0
    if bits.take(1):  # frame_id_numbers_present_flag
        frame_id_bits = bits.take(4) + bits.take(3) + 3
    bits.take(3 + 4)  # block and prediction tools that frame headers do not depend on
    order_hint = bits.take(1)
    if order_hint:
        bits.take(2)
    screen_content_tools = _SELECT if bits.take(1) else bits.take(1)
    integer_mv = _SELECT
    if screen_content_tools and not bits.take(1):
        integer_mv = bits.take(1)
    order_hint_bits = bits.take(3) + 1 if order_hint else 0
    return _Sequence(screen_content_tools, integer_mv, frame_id_bits, order_hint_bits)


def _skip_timing(bits: BitReader) -> None:
    bits.take(64)
    if bits.take(1):  # equal_picture_interval, then a variable-length number
        zeros = 0
        while not bits.take(1):
            zeros += 1
        bits.take(zeros)
    if bits.take(1):  # decoder_model_info_present_flag
        raise _Unsupported


def _skip_operating_points(bits: BitReader) -> None:
    delay_present = bits.take(1)
    for _ in range(bits.take(5) + 1):
        if bits.take(12):  # operating_point_idc: a scalable stream
            raise _Unsupported
        if bits.take(5) > 7:
            bits.take(1)
        if delay_present and bits.take(1):
            bits.take(4)


def _refreshes(bits: BitReader, sequence: _Sequence) -> bool:
    """Whether a frame header keeps anything of its frame for later ones."""
    if bits.take(1):  # show_existing_frame: cheap, and it may restart from a key frame
        return True
    frame_type, shown = bits.take(2), bits.take(1)
    if not shown:
        return True
    if frame_type in (_KEY_FRAME, _SWITCH_FRAME):
        return True
    error_resilient = bits.take(1)
    bits.take(1)  # disable_cdf_update
    tools = sequence.screen_content_tools
    if (bits.take(1) if tools == _SELECT else tools) and sequence.integer_mv == _SELECT:
        bits.take(1)
    bits.take(sequence.frame_id_bits)
    bits.take(1)  # frame_size_override_flag
    bits.take(sequence.order_hint_bits)
    if frame_type != _INTRA_ONLY_FRAME and not error_resilient:
        bits.take(3)  # primary_ref_frame
    return bits.take(8) != 0
