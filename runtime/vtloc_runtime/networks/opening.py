"""Open a bundle's networks by backend, device and precision; never anything but what was asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vtloc_runtime.errors import BackendError, BundleError

if TYPE_CHECKING:
    from vtloc_runtime.bundle import Bundle
    from vtloc_runtime.manifest import NetworkName
    from vtloc_runtime.networks.contract import Network

BACKENDS = ("onnxruntime", "tensorrt")

_EXACT_FIRST = ("fp32", "compact", "int8", "fp16")
_HALF_FIRST = ("fp16", "fp32", "compact", "int8")


def open_network(
    bundle: Bundle,
    network: NetworkName,
    *,
    backend: str = "onnxruntime",
    device: str | None = None,
    precision: str | None = None,
    threads: int | None = None,
) -> Network:
    """Open one network of a bundle.

    Args:
        bundle: The bundle.
        network: Which network.
        backend: ``"onnxruntime"`` or ``"tensorrt"``.
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:N"``; None takes the backend's first.
        precision: Which precision; None takes the best that the bundle has for the device.
        threads: Threads of one run on the CPU; None takes what the process may use.

    Raises:
        BackendError: The backend is unknown, or cannot serve the device here.
        BundleError: The bundle lacks the precision, or a file is missing or altered.
        EngineError: No TensorRT engine fits this machine.
        MissingExtraError: The backend's package is not installed.
    """
    device = resolve_device(backend, device)
    chosen = precision or preferred_precision(bundle, network, backend=backend, device=device)
    bundle.variant(network, chosen)
    if backend == "tensorrt":
        from vtloc_runtime.networks.tensorrt import load_tensorrt

        return load_tensorrt(bundle, network, chosen, device)
    from vtloc_runtime.networks.onnxruntime import load_onnxruntime

    return load_onnxruntime(bundle, network, chosen, device, threads=threads)


def resolve_device(backend: str, device: str | None) -> str:
    """The device that a backend runs on, once both are known to go together.

    Raises:
        BackendError: The backend is unknown, or it does not run on that device.
    """
    if backend not in BACKENDS:
        raise BackendError(
            f"the backend {backend!r} is unknown", remedy=f"Choose {' or '.join(BACKENDS)}"
        )
    if device is None:
        return "cuda" if backend == "tensorrt" else "cpu"
    kind, _, ordinal = device.partition(":")
    known = device in {"cpu", "cuda"} or (kind == "cuda" and ordinal.isdigit())
    if not known or (backend == "tensorrt" and kind != "cuda"):
        choices = "cuda or cuda:N" if backend == "tensorrt" else "cpu, cuda or cuda:N"
        raise BackendError(
            f"the backend {backend} does not run on the device {device!r}",
            remedy=f"Choose {choices}",
        )
    return device


def preferred_precision(bundle: Bundle, network: NetworkName, *, backend: str, device: str) -> str:
    """The precision taken where none is asked for.

    A CPU computes in FP32 whatever a file stores, so the most exact file comes first; a GPU
    computes FP16 at twice the speed or more.

    Raises:
        BundleError: The bundle has no precision that the backend takes.
    """
    order = _HALF_FIRST if device.startswith("cuda") else _EXACT_FIRST
    variants = bundle.manifest.networks[network].variants
    usable = [name for name in order if name in variants]
    if backend == "tensorrt":
        usable = [name for name in usable if name != "compact"]
    if not usable:
        raise BundleError(
            f"the {network} network comes in {', '.join(sorted(variants)) or 'no precision'}: "
            f"nothing that {backend} runs",
            where=bundle.path,
            remedy="Export the bundle again with: vtloc-export onnx CHECKPOINT --out BUNDLE",
        )
    return usable[0]
