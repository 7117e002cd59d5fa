"""The part of cuda-core that the runtime uses, over a `Gpu` that is not there."""

# ruff: noqa: C901, PYI024 - classes over one machine, in the names of the real libraries

from __future__ import annotations

import itertools
import types
from collections import namedtuple
from typing import Any

import numpy as np

from tests.support.tensorrt_double.gpu import Allocation, Gpu, RuleBroken, StreamQueue

ComputeCapability = namedtuple("ComputeCapability", ["major", "minor"])
CUDA_DLPACK = 2


class DeviceTensor:
    """What another library would lend: an array on the GPU that speaks DLPack."""

    def __init__(
        self,
        gpu: Gpu,
        array: np.ndarray,
        *,
        strides: tuple[int, ...] | None = None,
        ordinal: int | None = None,
    ) -> None:
        self.gpu = gpu
        self.block = gpu.allocate(array.nbytes, "device")
        self.block.content[:] = np.ascontiguousarray(array).view(np.uint8).reshape(-1)
        self.shape, self.dtype, self.strides = array.shape, array.dtype, strides
        self.ordinal = gpu.ordinal if ordinal is None else ordinal
        self.waited_for: list[int] = []

    def __dlpack_device__(self) -> tuple[int, int]:
        return CUDA_DLPACK, self.ordinal

    def __dlpack__(self, *, stream: int | None = None, **_: Any) -> Any:
        raise RuleBroken("the double reads device tensors through StridedMemoryView")

    def free(self) -> None:
        self.gpu.free(self.block)


def make_module(gpu: Gpu) -> types.ModuleType:
    """A module like ``cuda.core``."""
    handles = itertools.count(0x5000)
    streams: dict[int, StreamQueue] = {}

    class Buffer:
        def __init__(self, handle: int, size: int, block: Allocation | None, owner: Any) -> None:
            self.handle, self.size, self._block, self.owner = handle, size, block, owner
            self.device_id = gpu.ordinal if block is None else block.ordinal
            self.is_closed = False

        @staticmethod
        def from_handle(
            ptr: int, size: int, mr: Any = None, owner: Any = None, *, stream: Any = None
        ) -> Buffer:
            return Buffer(ptr, size, None, owner)

        def copy_to(self, dst: Buffer, *, stream: Stream, options: Any = None) -> Buffer:
            if dst.size != self.size:
                raise ValueError(
                    f"buffer sizes mismatch between src and dst ({self.size}, {dst.size})"
                )
            if stream.is_closed:
                raise RuleBroken("a copy on a closed stream")
            source = gpu.memory(self.handle, self.size, kinds=("device", "pinned"))
            target = gpu.memory(dst.handle, dst.size, kinds=("device", "pinned"))
            gpu.copies += 1
            kinds = gpu.kind(self.handle), gpu.kind(dst.handle)
            gpu.sent += self.size * (kinds == ("pinned", "device"))
            gpu.fetched += self.size * (kinds == ("device", "pinned"))
            stream.queue.add(lambda: np.copyto(target, source))
            return dst

        def close(self, stream: Stream | None = None) -> None:
            if self.is_closed:
                return
            self.is_closed = True
            if self._block is not None:
                gpu.need_current()
                gpu.free(self._block)

    class Stream:
        def __init__(self) -> None:
            self.handle = next(handles)
            self.ordinal = gpu.need_current()
            self.queue = StreamQueue(gpu, self.handle, self.ordinal)
            streams[self.handle] = self.queue
            self.is_closed = False
            gpu.born("stream")

        def sync(self) -> None:
            gpu.need_current(self.ordinal)
            self.queue.drain()

        def record(self, event: Event | None = None, options: Any = None) -> Event:
            gpu.need_current(self.ordinal)
            gpu.need_alive()
            event = event or Event()
            event.queue = self.queue
            return event

        def create_graph_builder(self) -> GraphBuilder:
            return GraphBuilder(self)

        def close(self) -> None:
            if not self.is_closed:
                if self.queue.pending:
                    raise RuleBroken("a stream was destroyed with work in it")
                self.is_closed = True
                gpu.gone("stream")

    class EventOptions:
        def __init__(
            self,
            timing_enabled: bool = False,
            blocking_sync: bool = False,
            ipc_enabled: bool = False,
        ) -> None:
            self.blocking_sync = blocking_sync

    class Event:
        def __init__(self, options: EventOptions | None = None) -> None:
            self.queue: StreamQueue | None = None
            self.is_closed = False
            gpu.made[
                "waiting event" if options and options.blocking_sync else "spinning event"
            ] += 1
            gpu.born("event")

        def sync(self) -> None:
            if self.queue is not None:
                self.queue.drain()

        def close(self) -> None:
            if not self.is_closed:
                self.is_closed = True
                gpu.gone("event")

    class GraphBuilder:
        def __init__(self, stream: Stream) -> None:
            self.stream = stream
            self.steps: list[Any] | None = None
            self.is_closed = False
            gpu.born("graph builder")

        def begin_building(self, mode: str = "relaxed") -> GraphBuilder:
            if mode not in {"global", "thread_local", "relaxed"}:
                raise ValueError(mode)
            self.stream.queue.recording = []
            self.stream.queue.capture_broken = False
            return self

        def end_building(self) -> GraphBuilder:
            queue = self.stream.queue
            if queue.recording is None:
                raise RuntimeError("graph builder is not building")
            if queue.capture_broken:
                # As cuda-core does: it asks whether it is building, which raises, and ends nothing.
                raise RuntimeError(
                    "Build process encountered an error and has been invalidated. Build process "
                    "must now be ended."
                )
            self.steps, queue.recording = queue.recording, None
            return self

        def complete(self, options: Any = None) -> Graph:
            if self.steps is None:
                raise RuntimeError("graph has not finished building")
            return Graph(self.steps)

        def close(self) -> None:
            if self.is_closed:
                return
            self.is_closed = True
            gpu.gone("graph builder")
            queue = self.stream.queue
            if queue.recording is not None:
                if not queue.capture_broken:
                    raise RuleBroken("a graph builder was destroyed while it captured")
                queue.recording, queue.capture_broken = None, False
                raise RuntimeError("CUDA_ERROR_STREAM_CAPTURE_INVALIDATED")

    class Graph:
        def __init__(self, steps: list[Any]) -> None:
            self.steps, self.is_closed = steps, False
            gpu.born("graph")

        def launch(self, stream: Stream) -> None:
            ordinal = gpu.need_current(stream.ordinal)
            gpu.need_alive()
            if self.is_closed:
                raise RuleBroken("a destroyed graph was launched")
            gpu.launches["graph"] += 1
            gpu.runs[ordinal] += 1
            for step in self.steps:
                stream.queue.add(step)

        def close(self) -> None:
            if not self.is_closed:
                self.is_closed = True
                gpu.gone("graph")

    class LegacyPinnedMemoryResource:
        def allocate(self, size: int, *, stream: Any = None) -> Buffer:
            block = gpu.allocate(size, "pinned")
            return Buffer(block.address, size, block, None)

    class Device:
        def __init__(self, device_id: int | None = None) -> None:
            self.device_id = gpu.ordinal if device_id is None else device_id
            if not gpu.has(self.device_id):
                raise ValueError(f"device_id must be within [0, {gpu.count}), got {device_id}")
            self.name = gpu.name
            self.compute_capability = ComputeCapability(*gpu.capability)

        def set_current(self, ctx: Any = None) -> None:
            gpu.current.ordinal = self.device_id

        def create_stream(self, obj: Any = None, options: Any = None) -> Stream:
            gpu.need_current(self.device_id)
            return Stream()

        def create_event(self, options: EventOptions | None = None) -> Event:
            gpu.need_current(self.device_id)
            return Event(options)

        def allocate(self, size: int, *, stream: Stream) -> Buffer:
            gpu.need_current(self.device_id)
            if stream.queue.recording is not None:
                stream.queue.capture_broken = True
                raise RuntimeError("CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED: allocation")
            block = gpu.allocate(size, "device")
            return Buffer(block.address, size, block, None)

    class StridedMemoryView:
        def __init__(self, obj: DeviceTensor, stream_ptr: int) -> None:
            if stream_ptr != -1:
                if stream_ptr not in streams:
                    raise RuleBroken("a device tensor was ordered on no stream of ours")
                obj.waited_for.append(stream_ptr)
            self.ptr, self.device_id = obj.block.address, obj.ordinal
            self.shape, self.strides, self.dtype = obj.shape, obj.strides, obj.dtype
            self.exporting_obj = obj

        @classmethod
        def from_dlpack(cls, obj: Any, stream_ptr: int | None = None) -> StridedMemoryView:
            if stream_ptr is None:
                raise RuleBroken("a device tensor was read without a word about streams")
            return cls(obj, stream_ptr)

    def kernel_mode_driver() -> tuple[int, ...]:
        if not gpu.nvml:
            raise RuntimeError("DynamicLibNotFoundError: Failure finding nvidia-ml")
        return gpu.driver

    def user_mode_driver() -> tuple[int, ...]:
        # It asks NVML, too.
        kernel_mode_driver()
        return (*(gpu.cuda or ()),)

    module: Any = types.ModuleType("cuda.core")
    module.Device, module.Buffer, module.EventOptions = Device, Buffer, EventOptions
    module.LegacyPinnedMemoryResource = LegacyPinnedMemoryResource
    module.utils = types.SimpleNamespace(StridedMemoryView=StridedMemoryView)
    module.system = types.SimpleNamespace(
        get_kernel_mode_driver_version=kernel_mode_driver,
        get_user_mode_driver_version=user_mode_driver,
    )
    gpu.streams = streams
    return module
