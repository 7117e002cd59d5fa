"""What every test may ask for: the folder of real files, and a GPU."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import pytest
from hypothesis import settings

# No test depends on how fast the machine is.
settings.register_profile("vtloc", deadline=None)
settings.load_profile("vtloc")

if "PYTEST_XDIST_WORKER" in os.environ:
    # PyTorch's threads wait by spinning: those of two workers take each other's processors, and
    # training becomes forty times slower. Set before anything imports it.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def media() -> Path:
    """The folder of real annotations, photographs and videos; skips where it is not named."""
    folder = os.environ.get("VTLOC_TEST_MEDIA")
    if not folder:
        pytest.skip("VTLOC_TEST_MEDIA names no folder of real files")
    path = Path(folder)
    if not path.is_dir():
        pytest.fail(f"VTLOC_TEST_MEDIA names {folder}, which is not a folder")
    return path


def _has_gpu() -> bool:
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    return (
        driver.cuInit(0) == 0
        and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
        and count.value > 0
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none."""
    if _has_gpu():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="no NVIDIA GPU on this machine"))
