"""What NVIDIA's driver says of itself, asked without any package and without NVML."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass

OLDEST_CUDA = (12, 2)
"""What driver 535 runs, the oldest that TensorRT's wheels take; CUDA 13 needs driver 580."""

_OF_ONE_CUDA = frozenset({"tensorrt", "gpu", "decode-gpu"})
_FIRST_FOR_CUDA_13 = (1, 27)
"""The first version of onnxruntime-gpu on PyPI that is built for CUDA 13."""


@dataclass(frozen=True, slots=True)
class CudaBuild:
    """An installed package that was built for one major version of CUDA.

    Attributes:
        package: Its distribution.
        version: Its version.
        cuda: The major version of CUDA.
        extra: The extra that brings it, without its ending.
    """

    package: str
    version: str
    cuda: int
    extra: str


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
        extra: Any extra; those that come for one CUDA only are ``tensorrt``, ``gpu`` and
            ``decode-gpu``, and the others stay as they are.
    """
    if extra not in _OF_ONE_CUDA:
        return extra
    found = cuda_version()
    return f"{extra}-cu12" if found is not None and found < (13, 0) else f"{extra}-cu13"


def cuda_builds() -> Iterator[CudaBuild]:
    """The installed packages whose build must suit the driver."""
    for major in (12, 13):
        if found := installed_version(f"tensorrt-cu{major}"):
            yield CudaBuild(f"tensorrt-cu{major}", found, major, "tensorrt")
    found = installed_version("cuda-bindings")
    if found and installed_version("cuda-core"):
        yield CudaBuild("cuda-bindings", found, _numbers(found)[0], "tensorrt")
    if found := installed_version("onnxruntime-gpu"):
        major = 13 if _numbers(found) >= _FIRST_FOR_CUDA_13 else 12
        yield CudaBuild("onnxruntime-gpu", found, major, "gpu")


def installed_version(package: str) -> str | None:
    """The version of an installed distribution; None where there is none."""
    # Imported here, because it takes long.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _numbers(text: str) -> tuple[int, int]:
    first, second, *_ = (*text.split("."), "0")
    return int(first), int(second)
