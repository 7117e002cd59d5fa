"""What names the content of a file: its hash, or for a huge file its ends and its state.

Everything that touches the file happens in a thread of its own, so that storage which hangs holds
up nobody for longer than a timeout.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vtloc_runtime.errors import VideoError

WHOLE_FILE = 4 * 2**30
"""Bytes up to which a file is hashed whole."""
LONGEST_HASHING = 60.0
"""Seconds after which a file counts as too large to be hashed whole."""

_SLICE = 4 * 2**20
_END = 16 * 2**20
_LOOK = 0.05


@dataclass(frozen=True, slots=True)
class FileState:
    """What changes when a file does.

    Attributes:
        size: Bytes.
        modified: Time of the last write, nanoseconds; programs can set it back.
        changed: Time of the last change of any kind, nanoseconds; programs cannot set it.
        inode: Which file it is on its device.
        device: Which device.
    """

    size: int
    modified: int
    changed: int
    inode: int
    device: int

    @classmethod
    def from_stat(cls, state: os.stat_result) -> FileState:
        """The part of a ``stat`` that matters."""
        return cls(state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino, state.st_dev)


@dataclass(frozen=True, slots=True)
class Content:
    """A file's content by name.

    Attributes:
        name: The same for the same content; two contents never share one.
        path: The file's real path.
        state: The file's state, before and after it was read.
        noted: Whether the name was known, and the file not read.
    """

    name: str
    path: str
    state: FileState
    noted: bool


Known = Callable[[str, FileState], "str | None"]
"""Gives the name of a file's content where it is known by the file's path and state."""


def identify(
    path: str | Path,
    *,
    known: Known,
    timeout: float,
    stop: Callable[[], bool] | None = None,
) -> Content | None:
    """Name the content of a file.

    Args:
        path: The file.
        known: Asked first, so that a file is not read twice.
        timeout: Seconds that the storage may take for one answer.
        stop: Asked now and then; once it says True the file is given up.

    Returns:
        None where it is not a regular file that can be read, changed meanwhile, or was given up.

    Raises:
        VideoError: The storage did not answer in time.
    """
    work = _Work(os.fspath(path), known)
    thread = threading.Thread(target=work.run, name="file identity", daemon=True)
    thread.start()
    seen, since = -1, time.monotonic()
    while not work.done.wait(_LOOK):
        if stop is not None and stop():
            work.give_up()
            return None
        if work.progress != seen:
            seen, since = work.progress, time.monotonic()
        elif time.monotonic() - since > timeout:
            work.give_up()
            raise VideoError(
                f"the storage did not respond within {timeout:g} s",
                where=path,
                remedy="Check whether its storage responds",
            )
    return work.found


class _Work:
    """The reading of one file; ``progress`` grows with every answer of the storage."""

    def __init__(self, path: str, known: Known) -> None:
        self._path = path
        self._known = known
        self.progress = 0
        self._given_up = threading.Event()
        self.found: Content | None = None
        self.done = threading.Event()

    def give_up(self) -> None:
        """Let it end at the next slice."""
        self._given_up.set()

    def run(self) -> None:
        try:
            self.found = self._identify()
        except (OSError, ValueError):
            # ValueError: a name with a NUL in it, or half of a surrogate pair.
            self.found = None
        finally:
            self.done.set()

    def _identify(self) -> Content | None:
        real = os.path.realpath(self._path)
        if not stat.S_ISREG(Path(real).stat().st_mode):
            return None
        # Without O_NONBLOCK, a pipe put in its place meanwhile would be waited for.
        descriptor = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return None
            self.progress += 1
            state = FileState.from_stat(status)
            known = self._known(real, state)
            name = known or self._name(descriptor, state)
            if name is None or FileState.from_stat(os.fstat(descriptor)) != state:
                return None
            return Content(name, real, state, noted=known is not None)
        finally:
            os.close(descriptor)

    def _name(self, descriptor: int, state: FileState) -> str | None:
        if state.size <= WHOLE_FILE:
            whole = hashlib.blake2b()
            if self._add(whole, descriptor, 0, state.size, time.monotonic() + LONGEST_HASHING):
                return whole.hexdigest()
        if self._given_up.is_set():
            return None
        # Such a name does not outlive a copy, and never stands for another content.
        ends = hashlib.blake2b(repr(state).encode(), person=b"ends of a file")
        start = max(0, state.size - _END)
        self._add(ends, descriptor, 0, min(_END, state.size))
        self._add(ends, descriptor, start, state.size)
        return None if self._given_up.is_set() else ends.hexdigest()

    def _add(
        self,
        digest: hashlib.blake2b,
        descriptor: int,
        start: int,
        stop: int,
        deadline: float = float("inf"),
    ) -> bool:
        """Hash a part of the file; False where that takes too long, or is not wanted any more."""
        at = start
        while at < stop:
            if self._given_up.is_set() or time.monotonic() > deadline:
                return False
            part = os.pread(descriptor, min(_SLICE, stop - at), at)
            if not part:
                return True
            digest.update(part)
            at += len(part)
            self.progress += 1
        return True
