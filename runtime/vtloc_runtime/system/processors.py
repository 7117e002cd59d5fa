"""What this process may use of the machine: processors, and the instructions they know."""

from __future__ import annotations

import os
from pathlib import Path

_CGROUP_LIMITS = (Path("/sys/fs/cgroup/cpu.max"),)
_INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "amx_bf16", "asimddp")


def available_processors() -> int:
    """Processors this process may keep busy: its affinity, within its container's quota."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = _container_quota()
    return max(1, min(count or 1, quota or count or 1))


def _container_quota() -> int | None:
    for path in _CGROUP_LIMITS:
        try:
            quota, period = path.read_text(encoding="ascii").split()
        except (OSError, ValueError):
            continue
        if quota != "max":
            return max(1, int(quota) // int(period))
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
