"""Which engine of a bundle this machine can run, and why not the others."""

from __future__ import annotations

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

if TYPE_CHECKING:
    from pathlib import Path

    from vtloc_runtime.bundle.bundle import Bundle
    from vtloc_runtime.bundle.manifest import NetworkName


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
    versions: dict[Flavour, str],
    target: EngineTarget,
) -> Engine:
    """The engine that this machine can run, or the reasons why none of them can.

    An engine built by TensorRT is taken only where the ONNX file, the TensorRT version, the GPU
    and the driver are those that it was built with. One built ahead of time needs the same
    builder version and compute capability.

    Args:
        bundle: Where to look.
        network: Which network.
        precision: Which precision.
        versions: The TensorRT flavours installed here, with their versions.
        target: This machine.

    Raises:
        EngineError: No engine of that network and precision fits, and what each was made for.
        BundleError: The bundle does not hold that precision.
    """
    onnx_sha256 = bundle.variant(network, precision).sha256
    reasons: list[str] = []
    engines: list[Engine] = []
    for path in _sidecars(bundle):
        try:
            engines.append(_open(bundle, path))
        except EngineError as error:
            reasons.append(f"{path.name}: {error.what}")
    # What was timed on the GPU itself comes before what was compiled ahead of time.
    engines.sort(key=lambda engine: engine.identity.flavour != "tensorrt")
    for engine in engines:
        identity = engine.identity
        if (identity.network, identity.precision) != (network, precision):
            continue
        mismatch = _mismatch(identity, onnx_sha256, versions, target)
        if mismatch is None:
            return engine
        reasons.append(f"{engine.plan_path.name} {mismatch}")
    raise EngineError(
        "; ".join(reasons)
        if reasons
        else f"there is no {precision} engine of the {network} network",
        where=bundle.engines,
        remedy=f"Build one here with: vtloc-export trt {bundle.path} "
        f"--target {target.sm} --precision {precision}",
    )


def _mismatch(
    identity: EngineIdentity,
    onnx_sha256: str,
    versions: dict[Flavour, str],
    target: EngineTarget,
) -> str | None:
    version = versions.get(identity.flavour)
    wanted = identity.target
    checks = (
        (
            identity.onnx_sha256 == onnx_sha256,
            "was built from another ONNX file than the bundle's",
        ),
        (
            version is not None,
            f"needs {identity.flavour} {identity.version}, which is not installed",
        ),
        (
            version == identity.version,
            f"needs {identity.flavour} {identity.version}; {version} is installed",
        ),
        (wanted.sm == target.sm, f"is for {wanted.sm}; this GPU is {target.sm}"),
        (
            wanted.gpu in {None, target.gpu},
            f"was tuned on {wanted.gpu}; this GPU is {target.gpu}",
        ),
        (
            wanted.driver in {None, target.driver},
            f"was built under driver {wanted.driver}; this one is {target.driver}",
        ),
    )
    return next((reason for fits, reason in checks if not fits), None)
