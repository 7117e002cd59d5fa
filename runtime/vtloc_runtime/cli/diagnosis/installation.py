"""The machine, the installed packages, and whether they were built for its driver."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from typing import Any

from vtloc_runtime.cli.diagnosis.findings import Finding
from vtloc_runtime.errors import VtlocError
from vtloc_runtime.networks.onnxruntime_package import (
    FIRST_WITH_EXTERNAL_DATA,
    import_onnxruntime,
    release,
)
from vtloc_runtime.system.installation import install_command
from vtloc_runtime.system.nvidia_driver import (
    OLDEST_CUDA,
    cuda_builds,
    cuda_version,
    installed_version,
)
from vtloc_runtime.system.processors import (
    INT8_INSTRUCTIONS,
    available_processors,
    processor_instructions,
)


def processor() -> Finding:
    """The processor and its instructions."""
    instructions = processor_instructions()
    detail = (
        f"{platform.system()} {platform.machine()}, {available_processors()} processors, "
        f"{', '.join(instructions) or 'instructions unknown'}"
    )
    if not INT8_INSTRUCTIONS & set(instructions):
        detail += "; no INT8 instructions, so int8 saves memory but no time"
    return Finding("processor", "ok", detail)


def packages() -> Iterator[Finding]:
    """The packages that are installed, and what the others are needed for."""
    yield Finding("python", "ok", platform.python_version())
    yield _onnxruntime()
    for package, names, extra, purpose in (
        ("tensorrt", ("tensorrt-cu12", "tensorrt-cu13"), "tensorrt", "engines on NVIDIA GPUs"),
        (
            "tensorrt-rtx",
            ("tensorrt-rtx-cu13",),
            "tensorrt-rtx",
            "engines for RTX GPUs, and compile checks without a GPU",
        ),
        ("cuda-core", ("cuda-core",), "tensorrt", "running engines"),
        ("opentimelineio", ("opentimelineio",), "editing", "--format otio"),
        ("matplotlib", ("matplotlib",), "plot", "--plot"),
    ):
        found = [f"{name} {is_there}" for name in names if (is_there := installed_version(name))]
        if found:
            yield Finding(package, "ok", ", ".join(found))
        else:
            remedy = install_command(extra)
            yield Finding(package, "absent", f"only needed for {purpose}", remedy)


def cuda_mismatches() -> Iterator[Finding]:
    """Packages that were built for another CUDA than the driver runs, or for each other's."""
    driver, builds = cuda_version(), list(cuda_builds())
    majors = {build.cuda for build in builds if build.package.startswith("tensorrt")}
    if len(majors) > 1:
        yield Finding(
            "tensorrt",
            "problem",
            "tensorrt-cu12 and tensorrt-cu13 are both installed; they overwrite each other's files",
            f"pip uninstall tensorrt-cu12 tensorrt-cu13 tensorrt, then "
            f"{install_command('tensorrt')}",
        )
    if driver is None:
        return
    runs = f"CUDA {driver[0]}.{driver[1]}"
    if builds and driver < OLDEST_CUDA:
        yield Finding(
            "NVIDIA driver",
            "problem",
            f"it runs {runs}; TensorRT's packages need CUDA 12.2",
            "Update the driver to 535 or later",
        )
        return
    for build in builds:
        if build.cuda > driver[0]:
            yield Finding(
                build.package,
                "problem",
                f"{build.version} is built for CUDA {build.cuda}; the driver runs {runs}",
                f"{install_command(build.extra)}, or update the driver to 580",
            )


def _onnxruntime() -> Finding:
    builds = {
        name: found
        for name in ("onnxruntime", "onnxruntime-gpu")
        if (found := installed_version(name))
    }
    named = " and ".join(f"{name} {found}" for name, found in builds.items())
    if len(builds) > 1:
        return Finding(
            "onnxruntime",
            "problem",
            f"{named} are both installed; they overwrite each other's files",
            "pip uninstall onnxruntime onnxruntime-gpu, then install the one you want",
        )
    if not builds:
        return Finding("onnxruntime", "absent", "needed on processors", install_command("cpu"))
    try:
        onnxruntime = import_onnxruntime(extra="cpu", purpose="running on processors")
        providers = ", ".join(onnxruntime.get_available_providers())
    except (VtlocError, ImportError, AttributeError, OSError) as error:
        return Finding(
            "onnxruntime",
            "problem",
            f"{named} does not load: {error}",
            "pip uninstall onnxruntime onnxruntime-gpu, then install the one you want",
        )
    detail = f"{named}: {providers}"
    if release(onnxruntime.__version__) < FIRST_WITH_EXTERNAL_DATA:
        detail += "; bundles with external data need 1.27 or later"
    return Finding("onnxruntime", "ok", detail)


def gpu_driver() -> Finding:
    """NVIDIA's driver, and the GPUs that it finds."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return Finding("NVIDIA driver", "absent", "only needed for GPUs", "Install NVIDIA's driver")
    number, count = ctypes.c_int(0), ctypes.c_int(0)
    code = driver.cuInit(0)
    if code != 0:
        return Finding(
            "NVIDIA driver",
            "problem",
            f"the driver is installed but does not start (CUDA error {code})",
            "See whether nvidia-smi answers, and whether this container was given a GPU",
        )
    driver.cuDriverGetVersion(ctypes.byref(number))
    driver.cuDeviceGetCount(ctypes.byref(count))
    names = ", ".join(_gpu(driver, index) for index in range(count.value)) or "no GPU"
    cuda = f"CUDA {number.value // 1000}.{number.value % 1000 // 10}"
    return Finding("NVIDIA driver", "ok" if count.value else "problem", f"{cuda}: {names}")


def _gpu(driver: Any, index: int) -> str:
    name = ctypes.create_string_buffer(96)
    major, minor = ctypes.c_int(0), ctypes.c_int(0)
    driver.cuDeviceGetName(name, len(name), index)
    # Attributes 75 and 76 are the two numbers of the compute capability.
    driver.cuDeviceGetAttribute(ctypes.byref(major), 75, index)
    driver.cuDeviceGetAttribute(ctypes.byref(minor), 76, index)
    return f"{name.value.decode(errors='replace')} (sm{major.value}{minor.value})"
