"""Which builder makes an engine for which GPU: TensorRT on the GPU, TensorRT-RTX ahead of time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from vtloc_runtime.bundle.engine_file import EngineTarget
from vtloc_runtime.errors import BackendError, EngineError, MissingExtraError, UsageError
from vtloc_runtime.networks.tensorrt.api import (
    TensorrtApi,
    describe_device,
    import_cuda,
    import_flavour,
    open_device,
)
from vtloc_runtime.system.installation import install_command

BackendChoice = Literal["auto", "tensorrt", "tensorrt-rtx"]
LOCAL = "local"

EXAMPLES = {
    "sm75": "T4",
    "sm80": "A100, A30",
    "sm86": "A10, A40, RTX 30",
    "sm89": "L4, L40S, RTX 40",
    "sm90": "H100, H200",
    "sm100": "B200",
    "sm120": "RTX 50",
}
"""Targets by name, with GPUs that have them."""


@dataclass(frozen=True, slots=True)
class EngineBuilder:
    """A builder and the machine it builds for.

    Attributes:
        api: The flavour of TensorRT.
        target: What the engines are for.
        capability: TensorRT-RTX's name of the target; None where TensorRT asks the GPU itself.
    """

    api: TensorrtApi
    target: EngineTarget
    capability: Any = None


def choose_builder(backend: BackendChoice, target: str) -> EngineBuilder:
    """The builder for a target, as asked for; ``auto`` prefers TensorRT on the very GPU.

    Args:
        backend: Which flavour, or ``auto``.
        target: A compute capability such as ``sm80``, or ``local`` for this machine's GPU.

    Raises:
        UsageError: The target is not a compute capability.
        MissingExtraError: The flavour asked for is not installed.
        BackendError: TensorRT was asked for and no GPU answers.
        EngineError: No builder can make engines for the target here, and why each cannot.
    """
    if target != LOCAL and re.fullmatch(r"sm\d{2,3}", target) is None:
        known = ", ".join(f"{name} ({gpus})" for name, gpus in EXAMPLES.items())
        raise UsageError(
            f"{target!r} is not a target", where="--target", remedy=f"Use local, or one of {known}"
        )
    if backend == "tensorrt":
        return _on_this_gpu(target)
    if backend == "tensorrt-rtx":
        return _ahead_of_time(target)
    reasons = []
    for attempt in (_on_this_gpu, _ahead_of_time):
        try:
            return attempt(target)
        except (MissingExtraError, BackendError, EngineError) as error:
            reasons.append(error.what)
    raise EngineError(
        f"no builder for {target}: {'; '.join(reasons)}",
        remedy=f"Run this on the GPU with {install_command('tensorrt')}, or compile ahead of time "
        f"with {install_command('tensorrt-rtx')} and a --target such as sm80",
    )


def _on_this_gpu(target: str) -> EngineBuilder:
    api = import_flavour("tensorrt")
    cuda = import_cuda()
    here = describe_device(cuda, open_device(cuda, 0))
    if target not in {LOCAL, here.sm}:
        raise EngineError(
            f"TensorRT builds for the GPU it runs on, {here.gpu} ({here.sm}), not for {target}",
            where="--target",
            remedy=f"Use --target {here.sm}, or --backend tensorrt-rtx to compile ahead of time",
        )
    return EngineBuilder(api, here)


def _ahead_of_time(target: str) -> EngineBuilder:
    api = import_flavour("tensorrt-rtx")
    if target == LOCAL:
        cuda = import_cuda()
        target = describe_device(cuda, open_device(cuda, 0)).sm
    names = api.module.ComputeCapability.__members__
    capability = names.get(target.upper())
    if capability is None:
        known = ", ".join(name.lower() for name in names if name.startswith("SM"))
        raise EngineError(
            f"TensorRT-RTX {api.version} cannot build for {target} ahead of time; it knows {known}",
            where="--target",
            remedy="Build on that GPU with --backend tensorrt",
        )
    return EngineBuilder(api, EngineTarget(sm=target), capability)
