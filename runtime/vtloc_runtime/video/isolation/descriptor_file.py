"""A file that only its open descriptor leads to."""

from __future__ import annotations

import os


class DescriptorFile:
    """A file object over a descriptor, with its own position.

    Args:
        descriptor: An open file; closed by ``close``.
        size: Its bytes.
        name: What formats may go by.
    """

    def __init__(self, descriptor: int, size: int, name: str) -> None:
        self.name = name
        self._descriptor = descriptor
        self._size = size
        self._position = 0

    def read(self, size: int = -1, /) -> bytes:
        """At most ``size`` bytes, none at the end."""
        data = os.pread(self._descriptor, self._size if size < 0 else size, self._position)
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place; gives where that is."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position}.get(whence, self._size)
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        """The place of the next byte that is read."""
        return self._position

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._descriptor)
