"""Bytes that several containers can read at the same time, each at its own position."""

from __future__ import annotations

import io
import os
import threading
from typing import IO, Protocol, Self, runtime_checkable

from vtloc_runtime.errors import VideoError


@runtime_checkable
class Readable(Protocol):
    """Anything with a ``read`` method that returns bytes."""

    def read(self, size: int = -1, /) -> bytes:
        """At most ``size`` bytes, none at the end."""
        ...


class SharedBytes(Protocol):
    """Bytes that several containers can read at the same time, each at its own position."""

    @property
    def file(self) -> IO[bytes]:
        """The file that is read."""
        ...

    def read_at(self, position: int, size: int) -> bytes:
        """At most ``size`` bytes from a position, none at the end."""
        ...

    def size(self) -> int:
        """Bytes in all."""
        ...


class RegularFile:
    """A file of the operating system; reading leaves its own position alone."""

    def __init__(self, file: IO[bytes] | io.FileIO) -> None:
        self.file = file

    def read_at(self, position: int, size: int) -> bytes:
        """At most ``size`` bytes from a position, none at the end."""
        return os.pread(self.file.fileno(), size, position)

    def size(self) -> int:
        """Bytes in all."""
        return os.fstat(self.file.fileno()).st_size


class SharedFile:
    """One seekable file object, used by one reader at a time."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self._lock = threading.Lock()

    def read_at(self, position: int, size: int) -> bytes:
        """At most ``size`` bytes from a position, none at the end."""
        with self._lock:
            self.file.seek(position)
            return read_checked(self.file, size, "the file object")

    def size(self) -> int:
        """Bytes in all."""
        with self._lock:
            return self.file.seek(0, os.SEEK_END)


class FileView:
    """A file-like view of shared bytes with its own position."""

    def __init__(self, shared: SharedBytes, name: str = "") -> None:
        self._shared = shared
        self._position = 0
        self.name = name

    def read(self, size: int) -> bytes:
        """The next bytes, none at the end."""
        data = self._shared.read_at(self._position, size)
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to another place, and say which."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position}.get(whence)
        if base is None:
            base = self._shared.size()
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        """The place, bytes from the start."""
        return self._position

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def read_checked(file: Readable, size: int, name: str) -> bytes:
    """Read, and check the answer: FFmpeg copies it into ``size`` bytes."""
    data = file.read(size)
    if not isinstance(data, bytes | bytearray | memoryview):
        raise VideoError(f"read() gave {type(data).__name__}, not bytes", where=name)
    if len(data) > size:
        raise VideoError("read() gave more bytes than it was asked for", where=name)
    return bytes(data)
