"""One worker of a TensorRT network: a stream, its contexts, its memory and its CUDA graphs.

A worker serves one call at a time, always on its own stream.
"""

from __future__ import annotations

import logging
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from vtloc_runtime.errors import NetworkError
from vtloc_runtime.networks.tensorrt.context import BoundContext, LoadedEngine
from vtloc_runtime.networks.tensorrt.cuda_graphs import GraphCache, GraphSlot
from vtloc_runtime.networks.tensorrt.memory import DeviceArray, TensorBuffer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vtloc_runtime.networks.interface import Array
    from vtloc_runtime.networks.tensorrt.layout import Shape

log = logging.getLogger("vtloc.tensorrt")

_CONTEXT_ALIGNMENT = 256


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

    def _context_maker(self, profile: int) -> Callable[[], BoundContext]:
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

    def _capture(self, graphs: GraphCache, slot: GraphSlot) -> None:
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
