"""Landlock: deny files, TCP, signals and abstract sockets in the kernel.

See https://docs.kernel.org/userspace-api/landlock.html. Without a single rule, everything that a
ruleset handles is denied; descriptors that are open already keep working.
"""

from __future__ import annotations

import ctypes
import os
import struct

# The same numbers on every processor.
_CREATE_RULESET, _RESTRICT_SELF = 444, 446
_VERSION = 1

# Rights over files by the version that brought them: execute to make_sym, refer, truncate,
# ioctl_dev.
_FILE_RIGHTS = ((1, (1 << 13) - 1), (2, 1 << 13), (3, 1 << 14), (5, 1 << 15))
_NETWORK_SINCE, _NETWORK_RIGHTS = 4, 0b11
_SCOPE_SINCE, _SCOPES = 6, 0b11


def landlock_version() -> int:
    """The kernel's Landlock version, 0 without Landlock."""
    return max(0, int(_libc().syscall(_CREATE_RULESET, None, 0, _VERSION)))


def deny_all() -> tuple[int, str | None]:
    """Deny this thread, and those that it starts, everything that Landlock can deny.

    ``no_new_privs`` must be set.

    Returns:
        The interface's version, and the reason where it is not in force.
    """
    version = landlock_version()
    if version == 0:
        return 0, "the kernel has no Landlock, or it is switched off"
    rights = sum(right for since, right in _FILE_RIGHTS if version >= since)
    ruleset = struct.pack("Q", rights)
    if version >= _NETWORK_SINCE:
        ruleset += struct.pack("Q", _NETWORK_RIGHTS)
    if version >= _SCOPE_SINCE:
        ruleset += struct.pack("Q", _SCOPES)
    libc = _libc()
    descriptor = libc.syscall(_CREATE_RULESET, ctypes.c_char_p(ruleset), len(ruleset), 0)
    if descriptor < 0:
        return version, os.strerror(ctypes.get_errno()).lower()
    try:
        if libc.syscall(_RESTRICT_SELF, descriptor, 0) != 0:
            return version, os.strerror(ctypes.get_errno()).lower()
    finally:
        os.close(descriptor)
    return version, None


def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return libc
