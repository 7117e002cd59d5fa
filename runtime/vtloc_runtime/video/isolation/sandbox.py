"""The sandbox of a decoder process: what it gives up before it reads a video.

Every layer is tried; where the kernel lacks one, the others still hold. The process keeps the
descriptors that it has, memory, threads and clocks, and nothing else.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import struct
import sys
from pathlib import Path

from vtloc_runtime.video.isolation.landlock import deny_all
from vtloc_runtime.video.isolation.sandbox_report import LAYERS, SandboxReport
from vtloc_runtime.video.isolation.seccomp import install_filter

# From linux/prctl.h.
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
# _LINUX_CAPABILITY_VERSION_3, from linux/capability.h.
_CAPABILITY_VERSION = 0x20080522
_DESCRIPTORS = 32
_ELSEWHERE = "only Linux has it"

_ON_A_GPU = ("parent-death", "no-new-privileges")
"""What a process that talks to a GPU's driver can give up and still work."""


def end_with_parent(parent: int) -> str | None:
    """Have the kernel end this process when the thread that started it ends.

    Args:
        parent: The process that started it.

    Returns:
        The reason where the kernel cannot.
    """
    reason = _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if reason is None and os.getppid() != parent:
        # It died before it was watched.
        os._exit(1)
    return reason


def enter_sandbox(*, orphaned: str | None, gpu: bool) -> SandboxReport:
    """Permanently give up everything that decoding does not need.

    All that will ever be imported must have been, and no second thread may run.

    Args:
        orphaned: Why the process does not end with its parent; None where it does.
        gpu: Decoding needs a GPU's driver, which opens devices as it goes.
    """
    held: dict[str, str] = {}
    missing: dict[str, str] = {}

    def note(layer: str, reason: str | None, detail: str = "") -> None:
        if reason is None:
            held[layer] = detail
        else:
            missing[layer] = reason

    note("parent-death", orphaned)
    if gpu:
        note("no-new-privileges", _prctl(_PR_SET_NO_NEW_PRIVS, 1))
        for layer in LAYERS:
            if layer not in _ON_A_GPU:
                missing[layer] = "a GPU's driver needs files and devices"
        return SandboxReport(held, missing)
    note("limits", _limit_resources())
    note("no-new-privileges", _prctl(_PR_SET_NO_NEW_PRIVS, 1))
    note("capabilities", _drop_capabilities())
    note("not-dumpable", _prctl(_PR_SET_DUMPABLE, 0))
    if (others := _other_threads()) > 0:
        # Landlock and a filter hold for the thread that asks for them.
        alone = f"{others} other threads run already"
        missing.update(landlock=alone, seccomp=alone)
        return SandboxReport(held, missing)
    if sys.platform != "linux":
        missing.update(landlock=_ELSEWHERE, seccomp=_ELSEWHERE)
        return SandboxReport(held, missing)
    version, reason = deny_all()
    note("landlock", reason, f"ABI {version}")
    # Last, because it denies the calls that the other layers need.
    note("seccomp", install_filter())
    return SandboxReport(held, missing)


def _limit_resources() -> str | None:
    """Forbid growing files and core dumps, and limit descriptors."""
    try:
        for kind, most in (
            (resource.RLIMIT_FSIZE, 0),
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_NOFILE, _DESCRIPTORS),
        ):
            resource.setrlimit(kind, (most, most))
    except (OSError, ValueError) as error:
        return str(error).lower()
    return None


def _drop_capabilities() -> str | None:
    """Drop root's capabilities; other users have none."""
    if sys.platform != "linux":
        return _ELSEWHERE
    libc = ctypes.CDLL(None, use_errno=True)
    header = struct.pack("Ii", _CAPABILITY_VERSION, 0)
    nothing = bytes(2 * 3 * 4)
    if libc.capset(ctypes.c_char_p(header), ctypes.c_char_p(nothing)) != 0:
        return os.strerror(ctypes.get_errno()).lower()
    return None


def _other_threads() -> int:
    try:
        return len(list(Path("/proc/self/task").iterdir())) - 1
    except OSError:
        return 0


def _prctl(option: int, value: int) -> str | None:
    if sys.platform != "linux":
        return _ELSEWHERE
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = [ctypes.c_ulong(one) for one in (value, 0, 0, 0)]
    if libc.prctl(option, *arguments) != 0:
        return os.strerror(ctypes.get_errno()).lower()
    return None
