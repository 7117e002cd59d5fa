"""Open a bundle's networks by backend, device and precision; never anything but what was asked."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vtloc_runtime.bundle.user_folder import TENSORRT_PRECISIONS
from vtloc_runtime.errors import BackendError, BundleError
from vtloc_runtime.networks.replicas import ReplicatedNetwork

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from vtloc_runtime.bundle.bundle import Bundle
    from vtloc_runtime.bundle.manifest import NetworkName
    from vtloc_runtime.networks.interface import Network

BACKENDS = ("onnxruntime", "tensorrt")

_EXACT_FIRST = ("fp32", "compact", "int8", "fp16")
_HALF_FIRST = ("fp16", "fp32", "compact", "int8")


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a bundle's networks run, and in which precisions.

    Attributes:
        backend: ``"onnxruntime"`` or ``"tensorrt"``.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:N"``, or several such as ``"cuda:0,cuda:1"``.
        precisions: The precision of each network.
    """

    backend: str
    device: str
    precisions: Mapping[NetworkName, str]

    @classmethod
    def choose(
        cls,
        bundle: Bundle,
        *,
        backend: str = "onnxruntime",
        device: str | None = None,
        precision: str | None = None,
    ) -> Placement:
        """Choose what was not asked for.

        Args:
            bundle: The bundle.
            backend: The backend.
            device: The device; None takes the backend's first.
            precision: The precision; None takes the best that the bundle has for the device.

        Raises:
            BackendError: The backend is unknown, or does not run on the device.
            BundleError: The bundle lacks the precision.
        """
        device = resolve_device(backend, device)
        precisions = {
            name: precision or preferred_precision(bundle, name, backend=backend, device=device)
            for name in bundle.manifest.network_names
        }
        for name, chosen in precisions.items():
            bundle.variant(name, chosen)
        return cls(backend, device, precisions)

    def hashes(self, bundle: Bundle) -> dict[NetworkName, str]:
        """The SHA-256 of each network's file."""
        return {name: bundle.variant(name, one).sha256 for name, one in self.precisions.items()}


def open_network(
    bundle: Bundle,
    network: NetworkName,
    *,
    backend: str = "onnxruntime",
    device: str | None = None,
    precision: str | None = None,
    threads: int | None = None,
    timeout: float | None = None,
    late: bool = False,
) -> Network:
    """Open one network of a bundle.

    Args:
        bundle: The bundle.
        network: Which network.
        backend: ``"onnxruntime"`` or ``"tensorrt"``.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:N"``, or several such as ``"cuda:0,cuda:1"``; None
            takes the backend's first.
        precision: Which precision; None takes the best that the bundle has for the device.
        threads: Threads of one run on the CPU; None takes what the process may use.
        timeout: Seconds after which a run is stopped, on ONNX Runtime; None takes its default.
        late: Whether to open it with its first run, on a CPU; its file is checked now.

    Raises:
        BackendError: The backend is unknown, or cannot serve the device here.
        BundleError: The bundle lacks the precision, or a file is missing or altered.
        EngineError: No TensorRT engine fits this machine.
        MissingExtraError: The backend's package is not installed.
    """
    device = resolve_device(backend, device)
    chosen = precision or preferred_precision(bundle, network, backend=backend, device=device)
    bundle.variant(network, chosen)
    with ExitStack() as stack:
        copies = [
            stack.enter_context(
                _open_copy(
                    bundle,
                    network,
                    chosen,
                    backend=backend,
                    device=one,
                    threads=threads,
                    timeout=timeout,
                    late=late,
                )
            )
            for one in device.split(",")
        ]
        opened = copies[0] if len(copies) == 1 else ReplicatedNetwork(copies)
        stack.pop_all()
    return opened


def open_networks(
    bundle: Bundle,
    placement: Placement,
    *,
    threads: int | None = None,
    timeout: float,
    late: Collection[NetworkName] = (),
) -> dict[NetworkName, Network]:
    """Open all networks of a bundle, on the CPU at the same time.

    Args:
        bundle: The bundle.
        placement: Where they run, and in which precisions.
        threads: Threads of one run on the CPU; None takes what the process may use.
        timeout: Seconds after which a run is stopped, on ONNX Runtime.
        late: Those to open with their first run, on a CPU.

    Raises:
        VtlocError: One cannot be opened; the others are closed.
    """

    def opened(name: NetworkName) -> Network:
        return open_network(
            bundle,
            name,
            backend=placement.backend,
            device=placement.device,
            precision=placement.precisions[name],
            threads=threads,
            timeout=timeout,
            late=name in late,
        )

    with ExitStack() as stack, ThreadPoolExecutor(_at_once(placement)) as pool:
        futures = {name: pool.submit(opened, name) for name in placement.precisions}
        failure: BaseException | None = None
        networks: dict[NetworkName, Network] = {}
        for name, future in futures.items():
            try:
                networks[name] = stack.enter_context(future.result())
            except BaseException as error:  # noqa: BLE001 - raised below, once all are there
                failure = failure or error
        if failure is not None:
            raise failure
        stack.pop_all()
    return networks


def _at_once(placement: Placement) -> int:
    # A GPU's memory is better filled by one at a time.
    return len(placement.precisions) if placement.device == "cpu" else 1


def _open_copy(
    bundle: Bundle,
    network: NetworkName,
    precision: str,
    *,
    backend: str,
    device: str,
    threads: int | None,
    timeout: float | None,
    late: bool,
) -> Network:
    """Open a network on one device."""
    if backend == "tensorrt":
        from vtloc_runtime.networks.tensorrt.network import load_tensorrt

        return load_tensorrt(bundle, network, precision, device)
    from vtloc_runtime.networks.onnxruntime_backend import DEFAULT_RUN_TIMEOUT, load_onnxruntime

    return load_onnxruntime(
        bundle,
        network,
        precision,
        device,
        threads=threads,
        timeout=DEFAULT_RUN_TIMEOUT if timeout is None else timeout,
        # What a GPU cannot serve is found out before any work.
        late=late and device == "cpu",
    )


def resolve_device(backend: str, device: str | None) -> str:
    """The device, or several, that a backend runs on, once both are known to go together.

    Raises:
        BackendError: The backend is unknown, it does not run on that device, or a device is named
            twice.
    """
    if backend not in BACKENDS:
        raise BackendError(
            f"the backend {backend!r} is unknown", remedy=f"Choose {' or '.join(BACKENDS)}"
        )
    if device is None:
        return "cuda" if backend == "tensorrt" else "cpu"
    several = device.split(",")
    if not all(_is_known(one, backend) for one in several) or (
        "cpu" in several and len(several) > 1
    ):
        choices = "cuda or cuda:N" if backend == "tensorrt" else "cpu, cuda or cuda:N"
        raise BackendError(
            f"the backend {backend} does not run on the device {device!r}",
            remedy=f"Choose {choices}, or several GPUs: cuda:0,cuda:1",
        )
    ordinals = [int(one.partition(":")[2] or 0) for one in several]
    if len(set(ordinals)) < len(ordinals):
        raise BackendError(f"a device is named twice in {device!r}", remedy="Name each one once")
    return device


def _is_known(device: str, backend: str) -> bool:
    kind, _, ordinal = device.partition(":")
    if kind == "cuda":
        return device == "cuda" or ordinal.isdecimal()
    return device == "cpu" and backend != "tensorrt"


def preferred_precision(bundle: Bundle, network: NetworkName, *, backend: str, device: str) -> str:
    """The precision taken where none is asked for.

    A CPU computes in FP32 whatever a file stores, so the most exact file comes first; a GPU
    computes FP16 at twice the speed or more.

    Raises:
        BundleError: The bundle has no precision that the backend takes.
    """
    order: tuple[str, ...] = _EXACT_FIRST
    if backend == "tensorrt":
        order = TENSORRT_PRECISIONS
    elif device.startswith("cuda"):
        order = _HALF_FIRST
    variants = bundle.manifest.networks[network].variants
    usable = [name for name in order if name in variants]
    if not usable:
        remedy = (
            f"Make the FP16 networks and their engines with: vtloc-export trt {bundle.path}"
            if backend == "tensorrt"
            else "Export the bundle again with: vtloc-export onnx CHECKPOINT --out BUNDLE"
        )
        raise BundleError(
            f"the {network} network comes in {', '.join(sorted(variants)) or 'no precision'}: "
            f"nothing that {backend} runs",
            where=bundle.path,
            remedy=remedy,
        )
    return usable[0]
