"""One worker of a TensorRT network: a stream, its contexts, its memory and its CUDA graphs.

A worker serves one call at a time, always on its own stream.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from math import prod
from typing import TYPE_CHECKING, Any

from vtloc_runtime.errors import DeviceLostError, NetworkError
from vtloc_runtime.networks.tensorrt.context import BoundContext, LoadedEngine
from vtloc_runtime.networks.tensorrt.cuda_graphs import GraphCache, GraphSlot
from vtloc_runtime.networks.tensorrt.memory import DeviceArray, TensorBuffer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

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
        self._event: Any = None
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
        # A thread that waits by spinning takes a processor from the decoder.
        self._event = device.create_event(loaded.cuda.EventOptions(blocking_sync=True))
        size = max(int(loaded.engine.device_memory_size_v2), _CONTEXT_ALIGNMENT)
        self._scratch = device.allocate(size, stream=self._stream)
        sizes: dict[str, int] = {}
        for profile in range(len(loaded.layout.profiles)):
            context = BoundContext(loaded, profile, self._stream, self._scratch)
            self._contexts.append(context)
            self._graphs.append(GraphCache(graphs, self._context_maker(profile)))
            inputs = loaded.layout.largest_inputs(profile)
            for name, shape in (inputs | context.infer(inputs)).items():
                nbytes = prod(shape) * loaded.layout.dtype(name).itemsize
                sizes[name] = max(sizes.get(name, 0), nbytes)
        for name, nbytes in sizes.items():
            self._buffers[name] = TensorBuffer(loaded.cuda, device, self._stream, nbytes)
        self._addresses = {name: buffer.address for name, buffer in self._buffers.items()}
        self._wait()

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
        return sum(buffer.pinned_bytes for buffer in self._buffers.values())

    @property
    def captured_graphs(self) -> int:
        """How many CUDA graphs are kept."""
        return sum(len(cache) for cache in self._graphs)

    def run(
        self, inputs: Mapping[str, Array | DeviceArray], read: Sequence[str]
    ) -> dict[str, Array]:
        """Compute every output, and fetch those that are read.

        Args:
            inputs: Checked inputs, on the host or on this device.
            read: Names of the outputs that are read.

        Raises:
            NetworkError: TensorRT or CUDA refuses.
            DeviceLostError: The GPU failed in a way that outlasts the call.
        """
        layout = self._loaded.layout
        shapes = {name: tuple(inputs[name].shape) for name in layout.inputs}
        profile = layout.choose_profile(shapes)
        # What another library lends is taken as it is.
        lent = any(isinstance(array, DeviceArray) for array in inputs.values())
        try:
            return self._run(profile, shapes, inputs, read, padded=not lent)
        except NetworkError as error:
            self._settle(error)
            raise
        except Exception as error:  # cuda-core raises its own, undocumented types
            self._settle(error)
            raise self._loaded.failed(f"the run failed ({error})") from error

    def _run(
        self,
        profile: int,
        shapes: dict[str, Shape],
        inputs: Mapping[str, Array | DeviceArray],
        read: Sequence[str],
        *,
        padded: bool,
    ) -> dict[str, Array]:
        layout = self._loaded.layout
        sent = layout.bucket(shapes, profile) if padded else shapes
        graphs, key = self._graphs[profile], tuple(sent.values())
        # Lent device memory must stay alive until the stream was synchronized.
        lent = self._stage(inputs, sent)
        capture = False
        if (slot := graphs.find(key)) is not None:
            slot.graph.launch(self._stream)
            context = slot.context
        else:
            capture = graphs.recurs(key)
            slot = graphs.admit(key) if capture else None
            context = self._contexts[profile] if slot is None else slot.context
            context.bind(sent, self._addresses)
            context.enqueue()
        outputs = self._collect(read, context.output_shapes, layout.output_shapes(shapes))
        del lent
        if capture and slot is not None:
            self._capture(graphs, slot)
        return outputs

    def _stage(
        self, inputs: Mapping[str, Array | DeviceArray], sent: Mapping[str, Shape]
    ) -> list[Any]:
        lent = []
        for name, array in inputs.items():
            buffer = self._buffers[name]
            if isinstance(array, DeviceArray):
                lent.append(buffer.take(array, self._stream))
            else:
                buffer.stage(array, sent[name], self._stream)
        return lent

    def _collect(
        self, read: Sequence[str], shapes: Mapping[str, Shape], wanted: Mapping[str, Shape]
    ) -> dict[str, Array]:
        layout = self._loaded.layout
        for name in read:
            self._buffers[name].download(
                shapes[name], wanted[name], layout.dtype(name), self._stream
            )
        self._wait()
        return {
            name: self._buffers[name].read(shapes[name], wanted[name], layout.dtype(name))
            for name in read
        }

    def _capture(self, graphs: GraphCache, slot: GraphSlot) -> None:
        """Capture the run that the slot's context has just done uncaptured.

        The answer is at hand already, so a failure costs the graphs and nothing else.
        """
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
            try:
                builder.close()
            except Exception:
                log.debug("the capture had been invalidated", exc_info=True)

    def _wait(self) -> None:
        """Wait, without spinning, until the stream has done all its work."""
        self._stream.record(self._event)
        self._event.sync()

    def _settle(self, cause: Exception) -> None:
        """Wait for what a failed call left in the stream, so that its memory can be used again.

        Raises:
            DeviceLostError: The stream fails as well: CUDA's illegal addresses, failed launches
                and memory errors make every later call of the process fail.
        """
        try:
            self._wait()
        except Exception as error:
            raise DeviceLostError(
                f"the GPU failed and cannot be used by this process any more: {cause}",
                where=f"cuda:{self._loaded.ordinal}",
                remedy="See what the kernel log says of the GPU (dmesg, Xid), and start again; "
                "finished work is kept",
            ) from error

    def close(self) -> None:
        """Free everything; the worker must be idle. On a lost GPU there is nothing to free."""
        try:
            with ExitStack() as stack:
                stack.callback(self._stream.close)
                stack.callback(self._stream.sync)
                if self._event is not None:
                    stack.callback(self._event.close)
                if self._scratch is not None:
                    stack.callback(self._scratch.close, self._stream)
                for buffer in self._buffers.values():
                    stack.callback(buffer.close, self._stream)
                for cache in self._graphs:
                    stack.callback(cache.close)
                stack.callback(self._contexts.clear)
                stack.callback(self._stream.sync)
        except Exception:
            log.warning("%s could not free all its memory", self._loaded.name, exc_info=True)
        self._buffers, self._graphs, self._scratch, self._event = {}, [], None, None
