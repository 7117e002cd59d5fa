"""Which engine of a bundle this machine can run, and why not the others."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from vtloc_runtime.bundle.digest import ENGINES_FOLDER
from vtloc_runtime.bundle.engine_file import (
    SIDECAR_SUFFIX,
    Engine,
    EngineIdentity,
    EngineTarget,
    Flavour,
)
from vtloc_runtime.errors import EngineError
from vtloc_runtime.system.nvidia_driver import fitting_extra

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vtloc_runtime.bundle.bundle import Bundle
    from vtloc_runtime.bundle.manifest import NetworkName

log = logging.getLogger("vtloc.tensorrt")

RTX_CAPABILITIES = frozenset({"sm75", "sm86", "sm89", "sm120", "sm121"})
"""What TensorRT-RTX's runtime serves: not the data-centre GPUs A100 (sm80) and H100 (sm90)."""


def package_of(flavour: Flavour) -> str:
    """The package that brings a flavour of TensorRT for this machine's driver."""
    return "tensorrt-rtx-cu13" if flavour == "tensorrt-rtx" else fitting_extra("tensorrt")


def list_engines(bundle: Bundle) -> tuple[Engine, ...]:
    """Every engine of a bundle, by file name.

    Raises:
        EngineError: A sidecar is damaged.
    """
    return tuple(_open(bundle, path) for path in _sidecars(bundle))


def _open(bundle: Bundle, path: Path) -> Engine:
    """An engine; of a bundle that is pinned by its digest, only one that the digest covers."""
    if not bundle.pinned:
        return Engine.open(path)
    return Engine.open(path, sha256=bundle.hashes.get(f"{ENGINES_FOLDER}/{path.name}", ""))


def _sidecars(bundle: Bundle) -> list[Path]:
    return sorted(bundle.engines.glob(f"*{SIDECAR_SUFFIX}"))


def find_engine(
    bundle: Bundle,
    network: NetworkName,
    precision: str,
    *,
    version_of: Callable[[Flavour], str | None],
    target: EngineTarget,
) -> Engine:
    """The engine that suits this machine best, or the reasons why none can run.

    The ONNX file, the TensorRT version and the compute capability must be those that the engine
    was built with. Among several, the one built on this GPU model and under this driver comes
    first; another model or driver is a warning, because kernels were timed elsewhere.

    Args:
        bundle: Where to look.
        network: Which network.
        precision: Which precision.
        version_of: The installed version of a TensorRT flavour, or None; called only for flavours
            that an engine asks for.
        target: This machine.

    Raises:
        EngineError: No engine of that network and precision fits, and what each was made for.
        BundleError: The bundle does not hold that precision.
    """
    onnx_sha256 = bundle.variant(network, precision).sha256
    reasons: list[str] = []
    installs: list[str] = []
    engines: list[Engine] = []
    for path in _sidecars(bundle):
        try:
            engines.append(_open(bundle, path))
        except EngineError as error:
            reasons.append(f"{path.name}: {error.what}")
    for engine in sorted(engines, key=lambda engine: _distance(engine.identity, target)):
        identity = engine.identity
        if (identity.network, identity.precision) != (network, precision):
            continue
        mismatch = _mismatch(identity, onnx_sha256, version_of, target)
        if mismatch is None:
            _warn(engine, target)
            return engine
        reasons.append(f"{engine.plan_path.name} {mismatch}")
        if _fits_but_for_version(identity, onnx_sha256, target):
            installs.append(f'pip install "{package_of(identity.flavour)}=={identity.version}"')
    raise EngineError(
        "; ".join(reasons)
        if reasons
        else f"there is no {precision} engine of the {network} network",
        where=bundle.engines,
        remedy=f"Build one here with: vtloc-export trt {bundle.path} "
        f"--target {target.sm} --precision {precision}"
        + (f", or install its TensorRT: {' or '.join(installs)}" if installs else ""),
    )


def _distance(identity: EngineIdentity, target: EngineTarget) -> tuple[bool, bool, bool]:
    """How far an engine's making is from this machine; the smallest is tried first."""
    return (
        # What was timed on a GPU comes before what was compiled ahead of time.
        identity.flavour != "tensorrt",
        identity.target.gpu != target.gpu,
        identity.target.driver != target.driver,
    )


def _mismatch(
    identity: EngineIdentity,
    onnx_sha256: str,
    version_of: Callable[[Flavour], str | None],
    target: EngineTarget,
) -> str | None:
    if identity.onnx_sha256 != onnx_sha256:
        return "was built from another ONNX file than the bundle's"
    if identity.target.sm != target.sm:
        return f"is for {identity.target.sm}; this GPU is {target.sm}"
    if identity.flavour == "tensorrt-rtx" and target.sm not in RTX_CAPABILITIES:
        return (
            "was compiled ahead of time by TensorRT-RTX, whose runtime does not serve "
            f"this GPU ({target.sm})"
        )
    version = version_of(identity.flavour)
    if version is None:
        return f"needs {identity.flavour} {identity.version}, which is not installed"
    if version != identity.version:
        return f"needs {identity.flavour} {identity.version}; {version} is installed"
    return None


def _fits_but_for_version(identity: EngineIdentity, onnx_sha256: str, target: EngineTarget) -> bool:
    """Whether the TensorRT that built it is all that is missing; majors never go together."""
    return _mismatch(identity, onnx_sha256, lambda _: identity.version, target) is None


def _warn(engine: Engine, target: EngineTarget) -> None:
    """Say where an engine was timed elsewhere: it answers the same, perhaps more slowly."""
    made = engine.identity.target
    if made.gpu not in {None, target.gpu}:
        log.warning(
            "%s was tuned on %s; this GPU is %s. It runs, perhaps more slowly than one built here",
            engine.plan_path.name, made.gpu, target.gpu,
        )  # fmt: skip
    elif made.driver not in {None, target.driver}:
        log.warning(
            "%s was built under driver %s; this one is %s. It runs; vtloc-export trt --force "
            "times it again",
            engine.plan_path.name, made.driver, target.driver,
        )  # fmt: skip
