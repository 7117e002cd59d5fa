"""Files that people name as inputs: opened without waiting, and read within a bound."""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path

LARGEST_TEXT = 2**30
"""Bytes of a list or of sentences, which are read as a whole."""

_BLOCK = 2**20


def open_input(path: str | Path) -> io.BufferedReader:
    """Open a regular file, or a pipe that is open already, such as a shell's ``<(command)``.

    A named pipe that nobody writes to could be waited for without end, and a device could be read
    without end.

    Args:
        path: The file.

    Raises:
        OSError: It cannot be opened, or is a folder, a named pipe or a device.
        ValueError: The name has a NUL in it, or characters that no file's name has.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _check_mode(os.fstat(descriptor).st_mode, path)
        os.set_blocking(descriptor, True)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_input(path: str | Path, *, limit: int | None = None) -> bytes:
    """The bytes of what ``open_input`` opens.

    Args:
        path: The file.
        limit: Most bytes that it may have.

    Raises:
        OSError: It cannot be read, is larger, or grows meanwhile.
        ValueError: As for ``open_input``.
    """
    with open_input(path) as file:
        if limit is None:
            return file.read()
        state = os.fstat(file.fileno())
        if stat.S_ISREG(state.st_mode):
            return _read_regular(file, state.st_size, limit)
        content = bytearray()
        while block := file.read1(_BLOCK):
            content += block
            if len(content) > limit:
                raise _too_large(limit)
    return bytes(content)


def _read_regular(file: io.BufferedReader, size: int, limit: int) -> bytes:
    """The bytes of a regular file, held once."""
    if size > limit:
        raise _too_large(limit)
    content = file.read(size + 1)
    if len(content) > size:
        raise OSError(errno.EAGAIN, "It grows while it is read")
    return content


def _check_mode(mode: int, path: str | Path) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    # A pipe that is open already has no name of its own, but only that of a descriptor.
    piped = stat.S_ISFIFO(mode) and os.path.realpath(path).startswith("/proc/")
    if not (stat.S_ISREG(mode) or piped):
        raise OSError(errno.EINVAL, "It is a named pipe or a device, not a file")


def _too_large(limit: int) -> OSError:
    return OSError(errno.EFBIG, f"It has more than {limit} bytes")
