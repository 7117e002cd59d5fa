"""What NVIDIA's driver says of itself, asked without any package and without NVML."""

from __future__ import annotations

import ctypes

CUDA_13_DRIVER = "580"
CUDA_12_DRIVER = "535"
"""The first drivers that the TensorRT wheels for CUDA 13 and CUDA 12 run on."""


def cuda_version() -> tuple[int, int] | None:
    """The newest CUDA that the driver runs, such as ``(12, 2)``; None without a driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
        number = ctypes.c_int(0)
        if driver.cuDriverGetVersion(ctypes.byref(number)) != 0:
            return None
    except (OSError, AttributeError):
        return None
    return number.value // 1000, number.value % 1000 // 10


def fitting_extra(extra: str) -> str:
    """The extra for this driver's CUDA: ``tensorrt`` becomes ``tensorrt-cu12`` or ``-cu13``.

    Args:
        extra: ``"tensorrt"``, ``"gpu"`` or ``"decode-gpu"``.
    """
    found = cuda_version()
    return f"{extra}-cu12" if found is not None and found < (13, 0) else f"{extra}-cu13"
