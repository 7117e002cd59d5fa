"""Networks on TensorRT engines, behind the one contract; without torch.

A network holds a few workers, each with its own stream, contexts and memory, so that several
threads run at once and copies overlap with computing.
"""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vtloc_runtime.errors import DeviceLostError, EngineError, NetworkError
from vtloc_runtime.networks.interface import Array, Network, check_inputs, choose_outputs
from vtloc_runtime.networks.tensorrt.api import (
    FLAVOURS,
    Messages,
    TensorrtApi,
    describe_device,
    device_ordinal,
    import_cuda,
    import_flavour,
    is_installed,
    messages_of,
    open_device,
)
from vtloc_runtime.networks.tensorrt.context import LoadedEngine
from vtloc_runtime.networks.tensorrt.engine_choice import find_engine
from vtloc_runtime.networks.tensorrt.layout import EngineLayout
from vtloc_runtime.networks.tensorrt.memory import DeviceArray, device_arrays
from vtloc_runtime.networks.tensorrt.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from vtloc_runtime.bundle.bundle import Bundle
    from vtloc_runtime.bundle.engine_file import Engine, Flavour
    from vtloc_runtime.bundle.manifest import NetworkName

DEFAULT_WORKERS = 2
DEFAULT_GRAPHS = 32


@dataclass(frozen=True, slots=True)
class EngineMemory:
    """What a network holds.

    Attributes:
        device_bytes: Memory on the GPU beside the weights, bytes.
        pinned_bytes: Pinned memory on the host, bytes.
        graphs: CUDA graphs kept.
    """

    device_bytes: int
    pinned_bytes: int
    graphs: int


def load_tensorrt(
    bundle: Bundle,
    network: NetworkName,
    precision: str,
    device: str = "cuda",
    *,
    workers: int = DEFAULT_WORKERS,
    graphs: int = DEFAULT_GRAPHS,
) -> TensorrtNetwork:
    """Open a network of a bundle on the engine that was built for this machine.

    Args:
        bundle: The bundle.
        network: Which network.
        precision: Which precision.
        device: The CUDA device, such as ``"cuda:0"``.
        workers: How many calls run at once; each holds memory of its own.
        graphs: Most CUDA graphs kept a worker and profile; 0 captures none.

    Raises:
        MissingExtraError: TensorRT or cuda-core is not installed.
        BackendError: No GPU answers.
        EngineError: No engine fits this machine, or the plan is altered or will not load.
        BundleError: The bundle does not hold that precision.
    """
    if not any(is_installed(flavour) for flavour in FLAVOURS):
        import_flavour("tensorrt")  # Says which package is missing, and which extra brings it.
    cuda, ordinal = import_cuda(), device_ordinal(device)
    gpu = open_device(cuda, ordinal)
    engine = find_engine(
        bundle, network, precision, version_of=_version, target=describe_device(cuda, gpu)
    )
    api = import_flavour(engine.identity.flavour)
    return TensorrtNetwork(engine, api, cuda, ordinal, workers=workers, graphs=graphs)


def _version(flavour: Flavour) -> str | None:
    """The version of a flavour; the two are never imported for nothing: they share symbols."""
    return import_flavour(flavour).version if is_installed(flavour) else None


class TensorrtNetwork(Network):
    """A network on a TensorRT engine; safe to call from several threads.

    Args:
        engine: The plan and its sidecar.
        api: The flavour of TensorRT that built it.
        cuda: The cuda-core module.
        ordinal: The CUDA device, current on this thread.
        workers: How many calls run at once.
        graphs: Most CUDA graphs kept a worker and profile.

    Raises:
        EngineError: The plan is altered, will not load, or is not what its sidecar says.
    """

    def __init__(
        self,
        engine: Engine,
        api: TensorrtApi,
        cuda: Any,
        ordinal: int,
        *,
        workers: int = DEFAULT_WORKERS,
        graphs: int = DEFAULT_GRAPHS,
    ) -> None:
        self.name = engine.identity.network
        self.backend = f"{api.flavour}:cuda:{ordinal}"
        self._messages = messages_of(api)
        self._runtime, cuda_engine = _deserialize(api, self._messages, engine)
        self._loaded: LoadedEngine | None = LoadedEngine(
            name=self.name,
            api=api,
            cuda=cuda,
            ordinal=ordinal,
            engine=cuda_engine,
            layout=EngineLayout.read(api, cuda_engine, engine),
            messages=self._messages,
        )
        self._layout = self._loaded.layout
        self.inputs = self._layout.inputs
        self.outputs = self._layout.outputs
        self._cuda, self._ordinal = cuda, ordinal
        self._workers: list[Worker] = []
        self._idle: queue.LifoQueue[Worker | None] = queue.LifoQueue()
        self._closing = threading.Lock()
        self._closed = False
        self._serving = False
        self._lost: DeviceLostError | None = None
        graphs = graphs if api.flavour == "tensorrt" else 0
        try:
            for _ in range(max(1, workers)):
                self._workers.append(Worker(self._loaded, graphs=graphs))
        except Exception as error:
            self.close()
            if isinstance(error, EngineError):
                raise
            raise EngineError(
                f"the engine does not fit on the GPU: {error}; {self._messages.drain()}",
                where=engine.plan_path,
                remedy="Free memory on the GPU, build narrower profiles, or use fewer workers",
            ) from error
        for worker in self._workers:
            self._idle.put(worker)
        self._serving = True

    @property
    def memory(self) -> EngineMemory:
        """What the network holds at this moment."""
        return EngineMemory(
            sum(worker.device_bytes for worker in self._workers),
            sum(worker.pinned_bytes for worker in self._workers),
            sum(worker.captured_graphs for worker in self._workers),
        )

    def run(
        self, inputs: Mapping[str, Any], outputs: Collection[str] | None = None
    ) -> dict[str, Array]:
        """Compute every output, and fetch those that are read.

        Args:
            inputs: numpy arrays, or arrays on this GPU that speak DLPack. Rows that are one row
                repeated by ``numpy.broadcast_to`` are sent once.
            outputs: The outputs that are read; the others stay on the GPU. None reads all.

        Raises:
            NetworkError: An input is missing, unknown or out of limits, an output is unknown, or
                the run failed.
            DeviceLostError: The GPU failed in a way that outlasts the call.
        """
        arrays = device_arrays(self._cuda, inputs)
        check_inputs(self.inputs, arrays, network=self.name)
        read = tuple(choose_outputs(self.outputs, outputs, network=self.name))
        shapes = {name: tuple(array.shape) for name, array in arrays.items()}
        batches = self._layout.batches(shapes, network=self.name)
        if len(batches) == 1:
            return self._run(arrays, read)
        parts = [self._run(part, read) for part in self._cut(arrays, batches)]
        return {name: np.concatenate([part[name] for part in parts]) for name in read}

    def _cut(self, arrays: Mapping[str, Any], batches: list[int]) -> Iterator[dict[str, Array]]:
        """Each part of a batch; the batch is every tensor's first axis."""
        if any(isinstance(array, DeviceArray) for array in arrays.values()):
            raise NetworkError(
                f"a batch of {sum(batches)} on the device fits no profile",
                where=self.name,
                remedy="Send smaller batches, or build engines with wider profiles",
            )
        start = 0
        for size in batches:
            yield {name: array[start : start + size] for name, array in arrays.items()}
            start += size

    def _run(self, arrays: Mapping[str, Any], read: tuple[str, ...]) -> dict[str, Array]:
        worker = self._idle.get()
        if worker is None:
            self._idle.put(None)
            raise NetworkError("the network was closed", where=self.name)
        try:
            if self._lost is not None:
                raise self._lost
            # The CUDA context is current a thread, and any thread may call.
            self._cuda.Device(self._ordinal).set_current()
            return worker.run(arrays, read)
        except DeviceLostError as error:
            self._lost = error
            raise
        finally:
            self._idle.put(worker)

    def close(self) -> None:
        """Wait for running calls and free everything; a second call does nothing."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
        if self._serving:
            for _ in self._workers:
                self._idle.get()
        if self._lost is None:
            self._cuda.Device(self._ordinal).set_current()
        for worker in self._workers:
            worker.close()
        self._workers.clear()
        self._loaded = None
        self._runtime = None
        self._idle.put(None)


def _deserialize(api: TensorrtApi, messages: Messages, engine: Engine) -> tuple[Any, Any]:
    plan = engine.read_plan()
    runtime = api.module.Runtime(messages.logger)
    # A plan may carry code for the host, and files for TensorRT to write and load; ours carry
    # neither. It narrows what a plan can do, but is not a sandbox: trust a plan like a program.
    runtime.engine_host_code_allowed = False
    runtime.tempfile_control_flags = 0
    cuda_engine = runtime.deserialize_cuda_engine(plan)
    if cuda_engine is None:
        raise EngineError(
            f"{api.flavour} {api.version} does not load the plan: {messages.drain()}",
            where=engine.plan_path,
            remedy="Build the engine again on this machine with: vtloc-export trt BUNDLE --force",
        )
    return runtime, cuda_engine
