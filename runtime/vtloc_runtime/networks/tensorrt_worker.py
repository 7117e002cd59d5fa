"""One worker of a TensorRT network: a stream, its contexts, its memory and its CUDA graphs.

A worker serves one call at a time. TensorRT's rules stand here in one place: shapes, then
inference of the output shapes, then addresses, then the enqueue, on a stream of our own.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from vtloc_runtime.errors import EngineError, NetworkError
from vtloc_runtime.networks.tensorrt_memory import DeviceArray, TensorBuffer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vtloc_runtime.networks.contract import Array
    from vtloc_runtime.networks.tensorrt_api import MessageKeeper, TensorrtApi
    from vtloc_runtime.networks.tensorrt_layout import EngineLayout, Shape

log = logging.getLogger("vtloc.tensorrt")

_REMEMBERED_SHAPES = 256
_CONTEXT_ALIGNMENT = 256


@dataclass(frozen=True, slots=True)
class LoadedEngine:
    """A deserialized engine and what is needed to run it.

    Attributes:
        name: The network's name, for messages.
        api: The flavour of TensorRT that loaded it.
        cuda: The cuda-core module.
        ordinal: The CUDA device it was loaded on.
        engine: TensorRT's engine.
        layout: Its inputs, outputs and profiles.
        messages: What TensorRT logged.
    """

    name: str
    api: TensorrtApi
    cuda: Any
    ordinal: int
    engine: Any
    layout: EngineLayout
    messages: MessageKeeper

    def failed(self, what: str) -> NetworkError:
        """An error with TensorRT's own reason."""
        return NetworkError(f"{what}: {self.messages.drain()}", where=self.name)


class BoundContext:
    """An execution context fixed to one profile, which remembers the shapes it is bound to.

    Args:
        loaded: The engine.
        profile: Index of the profile.
        stream: The worker's stream.
        scratch: The worker's activation memory, shared by its contexts, which never run at once.
    """

    def __init__(self, loaded: LoadedEngine, profile: int, stream: Any, scratch: Any) -> None:
        self._loaded = loaded
        self._stream = stream
        self.shapes: dict[str, Shape] | None = None
        self.output_shapes: dict[str, Shape] = {}
        self._context = _create_context(loaded.api, loaded.engine)
        if self._context is None:
            raise EngineError(
                f"no execution context could be made: {loaded.messages.drain()}",
                where=loaded.name,
                remedy="Free memory on the GPU, or open the network with fewer workers",
            )
        self._context.set_device_memory(int(scratch.handle), scratch.size)
        handle = int(stream.handle)
        if not self._context.set_optimization_profile_async(profile, handle):
            raise EngineError(
                f"profile {profile} could not be set: {loaded.messages.drain()}", where=loaded.name
            )
        stream.sync()

    def bind(self, shapes: Mapping[str, Shape], addresses: Mapping[str, int]) -> None:
        """Tell the context its shapes and addresses; nothing happens where they are known.

        Raises:
            NetworkError: TensorRT refuses them.
        """
        if self.shapes == shapes:
            return
        self.shapes = None
        self.output_shapes = self.infer(shapes)
        for name, address in addresses.items():
            if not self._context.set_tensor_address(name, address):
                raise self._loaded.failed(f"the address of {name!r} was refused")
        self.shapes = dict(shapes)

    def infer(self, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
        """The outputs' shapes for these input shapes.

        Raises:
            NetworkError: TensorRT refuses them.
        """
        for name, shape in shapes.items():
            if not self._context.set_input_shape(name, shape):
                raise self._loaded.failed(f"the shape {shape} of {name!r} was refused")
        try:
            unknown = self._context.infer_shapes()
        except RuntimeError as error:
            raise self._loaded.failed(f"the output shapes cannot be inferred ({error})") from error
        if unknown:
            raise self._loaded.failed(f"shapes are missing for {', '.join(unknown)}")
        return {
            name: tuple(self._context.get_tensor_shape(name))
            for name in self._loaded.layout.outputs
        }

    def enqueue(self) -> None:
        """Put one run into the stream.

        Raises:
            NetworkError: TensorRT refuses.
        """
        if not self._context.execute_async_v3(int(self._stream.handle)):
            self.shapes = None
            raise self._loaded.failed("the run could not be started")


@dataclass(slots=True)
class _GraphSlot:
    """A context of its own and the graph captured from it; the context outlives its graphs."""

    context: BoundContext
    graph: Any = None

    def release(self) -> None:
        if self.graph is not None:
            self.graph.close()
            self.graph = None


class GraphCache:
    """CUDA graphs of recurring shapes of one profile, the least recently used thrown out first.

    Modifying a context under a captured graph is undefined, so each graph has a context of its
    own. Contexts are made up to the bound and then handed on, never made again.

    Args:
        capacity: Most graphs kept; 0 turns capturing off.
        make_context: Makes a context of the profile.
    """

    def __init__(self, capacity: int, make_context: Any) -> None:
        self._capacity = capacity
        self._make_context = make_context
        self._slots: OrderedDict[tuple[Any, ...], _GraphSlot] = OrderedDict()
        self._seen: OrderedDict[tuple[Any, ...], None] = OrderedDict()

    def __len__(self) -> int:
        return sum(slot.graph is not None for slot in self._slots.values())

    def find(self, key: tuple[Any, ...]) -> _GraphSlot | None:
        """The captured graph of these shapes."""
        slot = self._slots.get(key)
        if slot is None or slot.graph is None:
            return None
        self._slots.move_to_end(key)
        return slot

    def recurs(self, key: tuple[Any, ...]) -> bool:
        """Note that these shapes came; true where they had come before."""
        if self._capacity == 0:
            return False
        known = key in self._seen
        self._seen[key] = None
        self._seen.move_to_end(key)
        if len(self._seen) > _REMEMBERED_SHAPES:
            self._seen.popitem(last=False)
        return known

    def admit(self, key: tuple[Any, ...]) -> _GraphSlot:
        """A slot for a new graph, taken over from the least recently used one where all are."""
        slot = self._slots.pop(key, None)
        if slot is None and len(self._slots) >= self._capacity:
            _, slot = self._slots.popitem(last=False)
        if slot is None:
            slot = _GraphSlot(self._make_context())
        slot.release()
        self._slots[key] = slot
        return slot

    def give_up(self) -> None:
        """Stop capturing: this network cannot be captured."""
        self._capacity = 0
        self.close()

    def close(self) -> None:
        """Free every graph and let go of the contexts."""
        for slot in self._slots.values():
            slot.release()
        self._slots.clear()


class Worker:
    """Runs an engine, one call at a time.

    Args:
        loaded: The engine.
        graphs: Most CUDA graphs kept a profile; 0 captures none.
    """

    def __init__(self, loaded: LoadedEngine, *, graphs: int) -> None:
        self._loaded = loaded
        device = loaded.cuda.Device(loaded.ordinal)
        self._stream = device.create_stream()
        self._buffers: dict[str, TensorBuffer] = {}
        self._contexts: list[BoundContext] = []
        self._graphs: list[GraphCache] = []
        self._scratch: Any = None
        try:
            self._fill(device, graphs)
        except BaseException:
            self.close()
            raise

    def _fill(self, device: Any, graphs: int) -> None:
        loaded = self._loaded
        size = max(int(loaded.engine.device_memory_size_v2), _CONTEXT_ALIGNMENT)
        self._scratch = device.allocate(size, stream=self._stream)
        sizes: dict[str, int] = {}
        for profile in range(len(loaded.layout.profiles)):
            context = BoundContext(loaded, profile, self._stream, self._scratch)
            self._contexts.append(context)
            self._graphs.append(GraphCache(graphs, self._context_maker(profile)))
            inputs = loaded.layout.largest_inputs(profile)
            for name, shape in (inputs | context.infer(inputs)).items():
                spec = loaded.layout.inputs.get(name) or loaded.layout.outputs[name]
                nbytes = prod(shape) * np.dtype(spec.dtype).itemsize
                sizes[name] = max(sizes.get(name, 0), nbytes)
        for name, nbytes in sizes.items():
            self._buffers[name] = TensorBuffer(loaded.cuda, device, self._stream, nbytes)
        self._addresses = {name: buffer.address for name, buffer in self._buffers.items()}
        self._stream.sync()

    def _context_maker(self, profile: int) -> Any:
        return lambda: BoundContext(self._loaded, profile, self._stream, self._scratch)

    @property
    def device_bytes(self) -> int:
        """Device memory that this worker holds, bytes."""
        scratch = 0 if self._scratch is None else int(self._scratch.size)
        return scratch + sum(buffer.nbytes for buffer in self._buffers.values())

    @property
    def pinned_bytes(self) -> int:
        """Pinned host memory that this worker holds, bytes."""
        return sum(buffer.nbytes for buffer in self._buffers.values())

    @property
    def captured_graphs(self) -> int:
        """How many CUDA graphs are kept."""
        return sum(len(cache) for cache in self._graphs)

    def run(self, inputs: Mapping[str, Array | DeviceArray]) -> dict[str, Array]:
        """Compute every output.

        Args:
            inputs: Checked inputs, on the host or on this device.

        Raises:
            NetworkError: TensorRT or CUDA refuses.
        """
        shapes = {name: tuple(array.shape) for name, array in inputs.items()}
        profile = self._loaded.layout.choose_profile(shapes)
        try:
            return self._run(profile, shapes, inputs)
        except NetworkError:
            self._settle()
            raise
        except Exception as error:  # cuda-core raises its own, undocumented types
            self._settle()
            raise self._loaded.failed(f"the run failed ({error})") from error

    def _run(
        self,
        profile: int,
        shapes: dict[str, Shape],
        inputs: Mapping[str, Array | DeviceArray],
    ) -> dict[str, Array]:
        graphs, key = self._graphs[profile], tuple(shapes.values())
        # Lent device memory must stay alive until the stream was synchronized.
        lent = self._stage(inputs)
        capture = False
        if (slot := graphs.find(key)) is not None:
            slot.graph.launch(self._stream)
            context = slot.context
        else:
            capture = graphs.recurs(key)
            slot = graphs.admit(key) if capture else None
            context = self._contexts[profile] if slot is None else slot.context
            context.bind(shapes, self._addresses)
            context.enqueue()
        outputs = self._collect(context.output_shapes)
        del lent
        if capture and slot is not None:
            self._capture(graphs, slot)
        return outputs

    def _stage(self, inputs: Mapping[str, Array | DeviceArray]) -> list[Any]:
        lent = []
        for name, array in inputs.items():
            buffer = self._buffers[name]
            if isinstance(array, DeviceArray):
                lent.append(buffer.take(array, self._stream))
            else:
                buffer.write(array)
                buffer.upload(array.nbytes, self._stream)
        return lent

    def _collect(self, shapes: Mapping[str, Shape]) -> dict[str, Array]:
        dtypes = {name: np.dtype(s.dtype) for name, s in self._loaded.layout.outputs.items()}
        for name, shape in shapes.items():
            self._buffers[name].download(prod(shape) * dtypes[name].itemsize, self._stream)
        self._stream.sync()
        return {
            name: self._buffers[name].read(shape, dtypes[name]) for name, shape in shapes.items()
        }

    def _capture(self, graphs: GraphCache, slot: _GraphSlot) -> None:
        """Capture the run that the slot's context has just done uncaptured."""
        builder = self._stream.create_graph_builder()
        try:
            builder.begin_building("thread_local")
            try:
                slot.context.enqueue()
            finally:
                builder.end_building()
            slot.graph = builder.complete()
        except Exception as error:  # noqa: BLE001 - cuda-core's types are undocumented
            # Some layers cannot be captured; the network then runs uncaptured, as it just did.
            # Its text alone is logged: the error itself would keep the context alive.
            log.warning("%s runs without CUDA graphs: %s", self._loaded.name, str(error))
            self._loaded.messages.drain()
            graphs.give_up()
        finally:
            builder.close()

    def _settle(self) -> None:
        """Wait for what a failed call left in the stream, so that its memory can be used again."""
        try:
            self._stream.sync()
        except Exception:
            log.warning("the stream of %s is broken", self._loaded.name, exc_info=True)

    def close(self) -> None:
        """Free everything; the worker must be idle."""
        self._settle()
        for cache in self._graphs:
            cache.close()
        self._graphs.clear()
        self._contexts.clear()
        for buffer in self._buffers.values():
            buffer.close(self._stream)
        self._buffers.clear()
        if self._scratch is not None:
            self._scratch.close(self._stream)
            self._scratch = None
        self._settle()
        self._stream.close()


def _create_context(api: TensorrtApi, engine: Any) -> Any:
    trt = api.module
    strategy = trt.ExecutionContextAllocationStrategy.USER_MANAGED
    if api.flavour == "tensorrt":
        return engine.create_execution_context(strategy)
    # TensorRT-RTX specializes kernels while it runs, and captures graphs by itself.
    config = engine.create_runtime_config()
    config.set_execution_context_allocation_strategy(strategy)
    config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
    return engine.create_execution_context(config)
