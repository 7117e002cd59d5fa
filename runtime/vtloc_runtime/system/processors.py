"""What this process may use of the machine: processors, and the instructions they know."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")
_INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "amx_bf16", "asimddp")

MOST_WORKERS = 1024
"""Workers that can be asked for; each takes a thread and a decoder process."""

INT8_INSTRUCTIONS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"})
"""Instruction sets that multiply INT8 faster than FP32, and without overflow."""


def available_processors() -> int:
    """Processors this process may keep busy: its affinity, within its container's quota."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = _container_quota()
    return max(1, min(count or 1, quota or count or 1))


def _container_quota() -> int | None:
    """Processors that the tightest quota above this process is worth; None where none is set."""
    shares = [share for folder in _control_groups() if (share := _share(folder)) is not None]
    return max(1, int(min(shares))) if shares else None


def _control_groups() -> Iterator[Path]:
    """The folders of this process's groups and of all above them, versions 1 and 2."""
    roots = {_CGROUPS: "/", _CGROUPS / "cpu": "/", _CGROUPS / "cpu,cpuacct": "/"}
    with contextlib.suppress(OSError, ValueError):
        for line in _OWN_GROUPS.read_text(encoding="utf-8").splitlines():
            _, controllers, group = line.split(":", 2)
            # Version 2 names no controllers.
            if not controllers:
                roots[_CGROUPS] = group
            elif "cpu" in controllers.split(","):
                roots.update(dict.fromkeys((_CGROUPS / "cpu", _CGROUPS / controllers), group))
    for root, group in roots.items():
        own = root / group.strip("/")
        # In a container the group's path may be the host's, and only the root is there.
        yield from (own, *(above for above in own.parents if above.is_relative_to(root)))


def _share(folder: Path) -> float | None:
    """A group's quota as a number of processors; None where it has none."""
    try:
        limit = folder / "cpu.max"
        if limit.exists():
            quota, period = limit.read_text(encoding="ascii").split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text(encoding="ascii")
            period = (folder / "cpu.cfs_period_us").read_text(encoding="ascii")
        # Version 2 says "max" where there is no quota, version 1 says -1.
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None


def processor_instructions() -> tuple[str, ...]:
    """The instruction sets that decide how fast networks run here; empty where unknown."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in {"flags", "Features"}:
            known = set(value.split())
            return tuple(name for name in _INSTRUCTIONS if name in known)
    return ()
