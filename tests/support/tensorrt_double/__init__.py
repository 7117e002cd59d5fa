"""A double of TensorRT's execution and build API and of cuda-core, for machines without a GPU.

It keeps the rules that the real thing keeps (some by an error code, some by undefined behaviour,
which here is a `RuleBroken`), runs work only when its stream is synchronized, counts what is
allocated and freed, and computes with ONNX Runtime.

`installed(...)` puts it in the place of the modules ``tensorrt`` and ``cuda.core``.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from unittest import mock

from tests.support.tensorrt_double import build, cuda, execution
from tests.support.tensorrt_double.gpu import Gpu, RuleBroken

__all__ = ["Gpu", "RuleBroken", "installed"]


@contextlib.contextmanager
def installed(
    gpu: Gpu | None = None, *, version: str = "11.4.0.106", rtx: bool = False
) -> Iterator[Gpu]:
    """Stand in for ``tensorrt`` and ``cuda.core``, on a machine with this GPU.

    Args:
        gpu: The machine.
        version: Of TensorRT.
        rtx: Stand in for ``tensorrt_rtx`` instead.
    """
    gpu = gpu or Gpu()
    trt = build.add_builder(execution.make_module(gpu, version), gpu)
    modules = {
        "tensorrt": None if rtx else trt,
        "tensorrt_rtx": trt if rtx else None,
        "cuda.core": cuda.make_module(gpu),
    }
    found = "vtloc_runtime.system.nvidia_driver.cuda_version"
    asked = "vtloc_runtime.networks.tensorrt.api.cuda_version"
    with (
        mock.patch.dict(sys.modules, modules),
        mock.patch(found, return_value=gpu.cuda),
        mock.patch(asked, return_value=gpu.cuda),
    ):
        yield gpu
