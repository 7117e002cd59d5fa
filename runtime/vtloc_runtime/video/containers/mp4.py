"""MP4 and QuickTime boxes: which parts a file has, and what its edit lists and entries say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TypeAlias

ReadAt: TypeAlias = Callable[[int, int], bytes]
"""Reads up to so many bytes at a position: ``(position, size) -> bytes``."""

_TOP_LEVEL = frozenset({
    b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"sidx", b"pnot",
    b"uuid", b"prft", b"emsg", b"meta", b"pdin",
})  # fmt: skip
_ENCRYPTED_ENTRIES = frozenset({b"encv", b"drmi"})
_MOST_BOXES = 2_000
_MOST_ENTRIES = 1_000
_MOST_TRACKS = 64
_EMPTY_EDIT = -1


@dataclass(frozen=True, slots=True)
class Box:
    """A box in the file.

    Attributes:
        kind: Its four letters.
        start: Where its content starts, bytes.
        end: Where it ends, bytes; past the file's end where the file was cut.
    """

    kind: bytes
    start: int
    end: int


class Mp4File:
    """The top-level boxes of a file.

    Args:
        read_at: Reads from the file.
        size: Bytes in the file.
    """

    def __init__(self, read_at: ReadAt, size: int) -> None:
        self._read_at = read_at
        self._size = size
        self._top = list(self._boxes(0, size))

    @property
    def recognised(self) -> bool:
        """Whether the file starts like an MP4 or QuickTime file."""
        return bool(self._top) and self._top[0].kind in _TOP_LEVEL

    def has(self, kind: bytes) -> bool:
        """Whether a top-level box of this kind lies whole in the file."""
        return any(box.kind == kind and box.end <= self._size for box in self._top)

    def starts(self, kind: bytes) -> bool:
        """Whether a top-level box of this kind starts in the file, whole or cut."""
        return any(box.kind == kind for box in self._top)

    @property
    def recordings(self) -> int:
        """How many files were written one after another into this one."""
        return sum(box.kind == b"moov" for box in self._top)

    @property
    def encrypted(self) -> bool:
        """Whether a track's pictures are encrypted."""
        return any(
            entry.kind in _ENCRYPTED_ENTRIES
            for track in self._tracks()
            for table in self._inside(track, b"mdia", b"minf", b"stbl", b"stsd")
            for entry in self._boxes(table.start + 8, table.end)
        )

    @property
    def paused(self) -> bool:
        """Whether an edit list holds a picture still, or shows none, after the video began."""
        for track in self._tracks():
            for edits in self._inside(track, b"edts", b"elst"):
                started = False
                for media_time, rate in self._edits(edits):
                    if started and (media_time == _EMPTY_EDIT or rate == 0):
                        return True
                    started = started or media_time != _EMPTY_EDIT
        return False

    def _tracks(self) -> Iterator[Box]:
        for movie in self._top:
            if movie.kind == b"moov":
                yield from islice(self._inside(movie, b"trak"), _MOST_TRACKS)

    def _inside(self, box: Box, *path: bytes) -> Iterator[Box]:
        if not path:
            yield box
            return
        for child in self._boxes(box.start, min(box.end, self._size)):
            if child.kind == path[0]:
                yield from self._inside(child, *path[1:])

    def _boxes(self, position: int, end: int) -> Iterator[Box]:
        for _ in range(_MOST_BOXES):
            header = self._read_at(position, 16) if position + 8 <= end else b""
            if len(header) < 8:
                return
            length, kind, start = int.from_bytes(header[:4], "big"), header[4:8], position + 8
            if length == 1 and len(header) == 16:
                length, start = int.from_bytes(header[8:], "big"), position + 16
            elif length == 0:
                length = end - position
            if length < start - position:
                return
            yield Box(kind, start, position + length)
            position += length

    def _edits(self, box: Box) -> Iterator[tuple[int, int]]:
        """Media time and rate of each edit."""
        head = self._read_at(box.start, 8)
        if len(head) < 8:
            return
        width = 8 if head[0] == 1 else 4
        size = 2 * width + 4
        count = min(int.from_bytes(head[4:], "big"), _MOST_ENTRIES, (box.end - box.start) // size)
        data = self._read_at(box.start + 8, count * size)
        for place in range(0, len(data) - size + 1, size):
            media_time = int.from_bytes(data[place + width : place + 2 * width], "big", signed=True)
            yield media_time, int.from_bytes(data[place + 2 * width : place + size], "big")
