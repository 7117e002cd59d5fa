"""A disk that fails at the n-th call: writes, syncs, renames and truncations, each in turn."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import pytest

_CALLS = ("write", "fsync", "fdatasync", "replace", "ftruncate", "open", "dup")


class FailingDisk:
    """Counts calls, and fails the ``number``-th.

    Args:
        number: From 1.
        lasting: Fail every later call too, as a disk that is gone does.
    """

    def __init__(self, number: int, *, lasting: bool) -> None:
        self.calls = 0
        self._number = number
        self._lasting = lasting

    @property
    def reached(self) -> bool:
        """Whether the call that fails was made."""
        return self.calls >= self._number

    def check(self) -> None:
        self.calls += 1
        if self.calls == self._number or (self._lasting and self.reached):
            raise OSError(errno.ENOSPC, "No space left on device")


class _File:
    """A file whose writes are counted as well."""

    def __init__(self, file: Any, disk: FailingDisk) -> None:
        self._file = file
        self._disk = disk

    def write(self, content: bytes) -> int:
        self._disk.check()
        return self._file.write(content)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


@contextmanager
def failing_disk(number: int, *, lasting: bool = False) -> Iterator[FailingDisk]:
    """Fail the ``number``-th call of the block; reading works."""
    disk = FailingDisk(number, lasting=lasting)
    with pytest.MonkeyPatch.context() as patch:
        for name in _CALLS:
            real = getattr(os, name)

            def call(*arguments: Any, _real: Any = real, **options: Any) -> Any:
                disk.check()
                return _real(*arguments, **options)

            patch.setattr(os, name, call)
        fdopen = os.fdopen
        patch.setattr(os, "fdopen", lambda *a, **o: _File(fdopen(*a, **o), disk))
        yield disk
