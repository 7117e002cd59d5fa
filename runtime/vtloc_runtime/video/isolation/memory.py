"""How much memory the decoder may use, and how close to that it came."""

from __future__ import annotations

import contextlib
import os

_NEAR = 0.75
_STATUS_SIZE = 4096


class Memory:
    """The address space of this process, and its limit.

    Args:
        limit: The limit, bytes; 0 where there is none.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rest = 0
        self._status = -1
        if limit > 0:
            with contextlib.suppress(OSError):
                # The sandbox lets no file be opened, but an open one be read again.
                self._status = os.open("/proc/self/status", os.O_RDONLY)

    def apply(self) -> None:
        """Set the limit."""
        if self._limit > 0:
            import resource

            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_AS, (self._limit, self._limit))

    def settle(self) -> None:
        """Take what the process has by now for what it takes without a video."""
        self._rest = self._peak()

    def near_limit(self) -> bool:
        """Whether the limit may have been hit.

        FFmpeg passes over what it finds no memory for, as it does over damage. The peak is the
        process's, so the parent replaces a process that came so close.
        """
        return self._peak() - self._rest > _NEAR * (self._limit - self._rest)

    def _peak(self) -> int:
        with contextlib.suppress(OSError, ValueError, IndexError):
            if self._status >= 0:
                status = os.pread(self._status, _STATUS_SIZE, 0)
                return 1024 * int(status.split(b"VmPeak:")[1].split()[0])
        return self._rest
