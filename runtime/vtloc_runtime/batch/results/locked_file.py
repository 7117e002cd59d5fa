"""A file that one run at a time appends to."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

from vtloc_runtime.errors import OutputError
from vtloc_runtime.system.atomic_write import sync_folder
from vtloc_runtime.system.text import plain

REMEDY = "Choose another place with --out"
_TRIES = 10


def open_locked(path: Path) -> int:
    """Open and lock a file; try again if it is replaced meanwhile."""
    for _ in range(_TRIES):
        descriptor = _open(path)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return descriptor
            lock(descriptor, path)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    raise OutputError("another run keeps replacing this file", where=path, remedy=REMEDY)


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        known = os.path.exists(path)
        special = known and not path.is_file() and not path.is_dir()
        # A named pipe that nobody reads could be waited for without end.
        how = os.O_WRONLY | os.O_NONBLOCK if special else os.O_RDWR | os.O_CREAT | os.O_APPEND
        descriptor = os.open(path, how | os.O_CLOEXEC, 0o666)
        os.set_blocking(descriptor, True)
    except (OSError, ValueError) as error:
        raise unwritable(path, error) from error
    if not known:
        sync_folder(os.path.dirname(os.path.realpath(path)))
    return descriptor


def append_only(descriptor: int) -> None:
    """Write at the file's end from now on, wherever it was read."""
    import fcntl

    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_APPEND)


def lock(descriptor: int, path: Path) -> None:
    """Lock a file, until its last descriptor is closed.

    Raises:
        OutputError: Another run has locked it.
    """
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OutputError(
            "another run is writing to this file", where=path, remedy=REMEDY
        ) from error
    except OSError:
        # Some network file systems have no locks; two runs on one file cannot be detected then.
        return


def unwritable(path: Path, error: OSError | ValueError) -> OutputError:
    """The error for results that cannot be written."""
    reason = getattr(error, "strerror", None) or error
    if getattr(error, "errno", None) == errno.ENXIO:
        reason = "It is a pipe that nobody reads"
    return OutputError(f"cannot write results: {plain(str(reason))}", where=path, remedy=REMEDY)
