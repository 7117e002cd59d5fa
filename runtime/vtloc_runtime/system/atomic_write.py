"""Files that are replaced whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_TRIES = 100


@contextmanager
def atomic_write(path: str | Path) -> Iterator[IO[bytes]]:
    """Write a file in one step: readers and crashes see the old content or the new, never half.

    The content goes to a new file in the same folder, is brought to the disk, and then takes the
    old file's place and mode. A symbolic link stays, and its target is replaced. If the block
    raises, the old file stays and the new one is removed.

    Args:
        path: The file; its folder must exist.

    Yields:
        The new file, open for writing and reading bytes.

    Raises:
        OSError: It cannot be written, or ``path`` is something other than a regular file.
    """
    target = os.path.realpath(path)
    mode = _mode(target)
    descriptor, draft = _create(os.path.dirname(target))
    try:
        with os.fdopen(descriptor, "w+b") as file:
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(draft)
        raise
    sync_folder(os.path.dirname(target))


def sync_folder(folder: str | Path) -> None:
    """Bring a folder's names to the disk, where the file system can.

    Args:
        folder: The folder in which a file was made, renamed or removed.
    """
    # Some network file systems refuse it; the names are then as safe as they can be there.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _mode(target: str) -> int | None:
    """The mode to keep; None where there is no file yet."""
    try:
        state = os.stat(target)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(state.st_mode):
        raise OSError(None, "it is not a regular file", target)
    return stat.S_IMODE(state.st_mode)


def _create(folder: str) -> tuple[int, str]:
    """A new file of an unguessable name; never one that exists, nor through a link.

    ``tempfile.mkstemp`` would do, but for its mode, which the user's umask should decide.
    """
    for _ in range(_TRIES):
        draft = os.path.join(folder, f".vtloc-{secrets.token_hex(8)}.tmp")
        with contextlib.suppress(FileExistsError):
            how = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            return os.open(draft, how, 0o666), draft
    raise OSError(None, "no name for a temporary file is free", folder)
