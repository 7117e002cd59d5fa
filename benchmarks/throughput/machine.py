"""The line under every table: what it was measured on."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from vtloc_runtime.system.processors import available_processors, processor_instructions


def machine_line(*packages: str) -> str:
    """The processor, how much of it is free to use, and the versions of what was measured.

    Args:
        packages: Distributions to name beside Python and PyAV.
    """
    text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    names = [line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line]
    found = [f"Python {platform.python_version()}"]
    for package in ("av", *packages):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    known = " ".join(name for name in processor_instructions() if "512" in name or "amx" in name)
    return (
        f"{names[0] if names else platform.machine()} ({known or 'no AVX-512'}), "
        f"{available_processors()} cores; {', '.join(found)}"
    )
