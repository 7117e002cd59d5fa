"""The index at the end of an AVI file: empty chunks there repeat the picture before them."""

from __future__ import annotations

import struct
from collections.abc import Callable

_MOST_CHUNKS = 10_000
_ENTRY = struct.Struct("<4sIII")
_LARGEST_INDEX = 64 * 2**20


def trailing_repeats(read_at: Callable[[int, int], bytes], size: int, stream: int) -> int:
    """How many empty chunks follow a stream's last picture.

    FFmpeg passes over them; a player goes on showing the last picture.

    Args:
        read_at: Reads from the file: ``(position, size) -> bytes``.
        size: Bytes in the file.
        stream: The stream's number in the file.
    """
    kinds = (b"%02ddc" % stream, b"%02ddb" % stream)
    repeats = 0
    for kind, _, _, length in _ENTRY.iter_unpack(_index(read_at, size)):
        if kind in kinds:
            repeats = repeats + 1 if length == 0 else 0
    return repeats


def _index(read_at: Callable[[int, int], bytes], size: int) -> bytes:
    position = 12
    for _ in range(_MOST_CHUNKS):
        header = read_at(position, 8) if position + 8 <= size else b""
        if len(header) < 8:
            return b""
        length = int.from_bytes(header[4:], "little")
        if header[:4] == b"idx1":
            data = read_at(position + 8, min(length, _LARGEST_INDEX))
            return data[: len(data) // _ENTRY.size * _ENTRY.size]
        position += 8 + length + length % 2
    return b""
