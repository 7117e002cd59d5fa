"""Stand-ins for NVIDIA's driver libraries, compiled when a test asks for them.

The real cuda-core and the real PyNvVideoCodec run on them on machines without a GPU. They are
found by the loader, so what uses them runs in a process of its own: `run` starts it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
LIBRARIES = {
    "libcuda.so.1": ("libcuda.c",),
    "libnvcuvid.so.1": ("libnvcuvid.c",),
    "libnvidia-encode.so.1": ("libnvidia_encode.c",),
}


def compiled(folder: Path) -> Path:
    """A folder with the libraries; skips the test where there is no C compiler.

    Args:
        folder: Where they are kept, for all tests of all sessions.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler here, so the stand-in drivers cannot be built")
    sources = sorted(HERE.glob("*.c"))
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:12]
    place = folder / f"stand-in-drivers-{digest}"
    if place.is_dir():
        return place
    making = folder / f"stand-in-drivers-{digest}.{os.getpid()}"
    making.mkdir(parents=True)
    for library, files in LIBRARIES.items():
        command = [compiler, "-O1", "-fPIC", "-shared", "-pthread", "-o", making / library]
        command += [HERE / file for file in files]
        if library == "libnvcuvid.so.1":
            command += [f"-L{making}", "-l:libcuda.so.1"]
        subprocess.run([*map(str, command), "-ldl"], check=True)
    try:
        making.rename(place)
    except OSError:
        shutil.rmtree(making)  # another process was faster
    return place


def has_package(distribution: str) -> bool:
    """Whether a package is installed, without importing it."""
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True


def environment(libraries: Path, packages: Path | None = None, **options: object) -> dict[str, str]:
    """What a process needs to run on the stand-ins.

    Args:
        libraries: What `compiled` gave.
        packages: A folder of packages that come before the installed ones.
        options: Steer the stand-ins: ``devices=2`` sets ``CUDA_STAND_IN_DEVICES``.
    """
    chosen = {f"CUDA_STAND_IN_{name.upper()}": str(value) for name, value in options.items()}
    paths = [str(path) for path in (packages, ROOT) if path is not None]
    return {
        **os.environ,
        **chosen,
        "LD_LIBRARY_PATH": str(libraries),
        "PYTHONPATH": os.pathsep.join(paths),
    }


def run(
    libraries: Path, trial: str, *words: str, packages: Path | None = None, **options: object
) -> Any:
    """Run a function of `trials` in a process of its own.

    Args:
        libraries: What `compiled` gave.
        trial: The function's name.
        words: Its arguments.
        packages: A folder of packages that come before the installed ones.
        options: Steer the stand-ins.

    Returns:
        What it returned, through JSON.
    """
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.stand_in_driver.trials", trial, *words],
        env=environment(libraries, packages, **options),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-6000:]
    # What libraries print comes before it.
    return json.loads(done.stdout.splitlines()[-1])
