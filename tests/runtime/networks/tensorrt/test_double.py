"""The double bites: what a real GPU leaves undefined or refuses, it raises or refuses."""

from __future__ import annotations

import gc
import sys
import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.support import small_bundle, tensorrt_double
from tests.support.tensorrt_double import RuleBroken
from tests.support.tensorrt_double.execution import write_plan

SHAPE = (2, small_bundle.SIDE, small_bundle.SIDE, 3)
PROFILES = [{"frames": [[1, *SHAPE[1:]], [2, *SHAPE[1:]], [most, *SHAPE[1:]]]} for most in (4, 8)]


class Machine(SimpleNamespace):
    """An engine of the visual network with two profiles, and a context made by hand."""

    def ready(self) -> None:
        """Do everything that comes before the enqueue, in order."""
        assert self.context.set_optimization_profile_async(0, self.stream.handle)
        self.stream.sync()
        assert self.context.set_input_shape("frames", SHAPE)
        assert self.context.infer_shapes() == []
        assert self.context.set_tensor_address("frames", self.frames.handle)
        assert self.context.set_tensor_address("features", self.features.handle)

    def capture(self) -> object:
        builder = self.stream.create_graph_builder()
        builder.begin_building("thread_local")
        self.accepted = self.context.execute_async_v3(self.stream.handle)
        try:
            builder.end_building()
            return builder.complete()
        finally:
            builder.close()


@pytest.fixture
def machine(gpu):
    trt: Any = sys.modules["tensorrt"]
    cuda: Any = sys.modules["cuda.core"]
    device = cuda.Device(0)
    device.set_current()

    class Logger(trt.ILogger):  # type: ignore[misc]  # made at run time
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity, msg) -> None:
            self.errors.append(msg)

    runtime, stream = trt.Runtime(Logger()), device.create_stream()
    runtime.tempfile_control_flags = 0
    plan = write_plan(small_bundle.visual().SerializeToString(), PROFILES)
    engine = runtime.deserialize_cuda_engine(plan)
    size = int(np.prod(SHAPE))
    return Machine(
        gpu=gpu,
        trt=trt,
        cuda=cuda,
        device=device,
        runtime=runtime,
        engine=engine,
        stream=stream,
        context=engine.create_execution_context(),
        frames=device.allocate(4 * size, stream=stream),
        features=device.allocate(4096, stream=stream),
    )


def test_done_rightly_it_computes(machine) -> None:
    machine.ready()
    assert machine.context.execute_async_v3(machine.stream.handle)
    machine.stream.sync()


def test_nothing_is_done_before_the_stream_is_synchronized(machine) -> None:
    machine.ready()
    before = machine.features._block.content.copy()
    machine.context.execute_async_v3(machine.stream.handle)
    np.testing.assert_array_equal(machine.features._block.content, before)
    machine.stream.sync()
    assert not np.array_equal(machine.features._block.content, before)


@pytest.mark.parametrize("handle", [0, 1, 2])
def test_the_default_streams_are_forbidden(machine, handle) -> None:
    machine.ready()
    with pytest.raises(RuleBroken, match="default"):
        machine.context.execute_async_v3(handle)
    with pytest.raises(RuleBroken, match="default"):
        machine.context.set_optimization_profile_async(0, handle)


def test_shapes_come_after_the_profile_is_set(machine) -> None:
    with pytest.raises(RuleBroken, match="before the profile"):
        machine.context.set_input_shape("frames", SHAPE)
    machine.context.set_optimization_profile_async(0, machine.stream.handle)
    with pytest.raises(RuleBroken, match="before the profile"):
        machine.context.set_input_shape("frames", SHAPE)


def test_addresses_come_after_the_shapes(machine) -> None:
    machine.context.set_optimization_profile_async(0, machine.stream.handle)
    machine.stream.sync()
    assert machine.context.infer_shapes() == ["frames"]
    with pytest.raises(RuleBroken, match="before the shapes"):
        machine.context.set_tensor_address("frames", machine.frames.handle)


def test_a_run_without_shapes_or_addresses_is_refused(machine) -> None:
    machine.context.set_optimization_profile_async(0, machine.stream.handle)
    machine.stream.sync()
    assert not machine.context.execute_async_v3(machine.stream.handle)
    machine.context.set_input_shape("frames", SHAPE)
    machine.context.infer_shapes()
    assert not machine.context.execute_async_v3(machine.stream.handle)
    assert any("no address" in error for error in machine.runtime.logger.errors)


def test_a_shape_beyond_the_profile_is_refused(machine) -> None:
    machine.ready()
    assert not machine.context.set_input_shape("frames", (5, *SHAPE[1:]))


def test_switching_the_profile_forgets_the_shapes(machine) -> None:
    machine.ready()
    machine.context.set_optimization_profile_async(1, machine.stream.handle)
    machine.stream.sync()
    assert machine.context.infer_shapes() == ["frames"]
    assert not machine.context.execute_async_v3(machine.stream.handle)


def test_a_context_serves_one_thread_at_a_time(machine) -> None:
    machine.ready()
    broken: list[BaseException] = []

    def intrude() -> None:
        try:
            machine.context.infer_shapes()
        except RuleBroken as error:
            broken.append(error)

    with machine.context._alone():
        thread = threading.Thread(target=intrude)
        thread.start()
        thread.join()
    assert broken


def test_a_thread_makes_the_device_current_first(machine) -> None:
    broken: list[BaseException] = []

    def stranger() -> None:
        try:
            machine.stream.sync()
        except RuleBroken as error:
            broken.append(error)

    thread = threading.Thread(target=stranger)
    thread.start()
    thread.join()
    assert broken


def test_a_graph_needs_a_run_after_every_change(machine) -> None:
    machine.ready()
    with pytest.raises(RuntimeError, match="INVALIDATED"):
        machine.capture()
    assert machine.accepted is False
    machine.context.execute_async_v3(machine.stream.handle)
    machine.stream.sync()
    machine.capture().launch(machine.stream)
    machine.stream.sync()
    machine.context.set_input_shape("frames", (1, *SHAPE[1:]))
    machine.context.infer_shapes()
    with pytest.raises(RuntimeError, match="INVALIDATED"):
        machine.capture()


def test_a_context_may_not_change_under_its_graph(machine) -> None:
    machine.ready()
    machine.context.execute_async_v3(machine.stream.handle)
    machine.stream.sync()
    graph = machine.capture()
    machine.context.set_input_shape("frames", (1, *SHAPE[1:]))
    machine.context.infer_shapes()
    graph.launch(machine.stream)
    with pytest.raises(RuleBroken, match="changed under work"):
        machine.stream.sync()


def test_synchronizing_while_capturing_spoils_the_graph(machine) -> None:
    builder = machine.stream.create_graph_builder()
    builder.begin_building("thread_local")
    with pytest.raises(RuntimeError, match="sync while capturing"):
        machine.stream.sync()
    with pytest.raises(RuntimeError, match="has been invalidated"):
        builder.end_building()
    with pytest.raises(RuntimeError, match="INVALIDATED"):
        builder.close()
    machine.stream.sync()


def test_a_bad_profile_raises_as_the_bindings_do(machine) -> None:
    with pytest.raises(RuntimeError, match="set optimization profile"):
        machine.context.set_optimization_profile_async(7, machine.stream.handle)


def test_after_an_illegal_address_every_call_fails(machine) -> None:
    machine.ready()
    machine.gpu.lost = True
    assert not machine.context.execute_async_v3(machine.stream.handle)
    for call in (
        machine.stream.sync,
        machine.stream.record,
        lambda: machine.device.allocate(8, stream=machine.stream),
    ):
        with pytest.raises(RuntimeError, match="ILLEGAL_ADDRESS"):
            call()


def test_addresses_must_be_aligned(machine) -> None:
    machine.ready()
    with pytest.raises(RuleBroken, match="not aligned"):
        machine.context.set_tensor_address("frames", machine.frames.handle + 16)


def test_without_nvml_both_driver_versions_are_unknown(machine) -> None:
    machine.gpu.nvml = False
    for ask in ("get_kernel_mode_driver_version", "get_user_mode_driver_version"):
        with pytest.raises(RuntimeError, match="nvidia-ml"):
            getattr(machine.cuda.system, ask)()


def test_freed_memory_is_not_used(machine) -> None:
    machine.ready()
    machine.context.execute_async_v3(machine.stream.handle)
    machine.frames.close()
    with pytest.raises(RuleBroken, match="living memory"):
        machine.stream.sync()


def test_copies_are_of_one_size_and_stay_inside_their_blocks(machine) -> None:
    buffer = machine.cuda.Buffer
    start = machine.frames.handle
    with pytest.raises(ValueError, match="sizes mismatch"):
        buffer.from_handle(start, 8).copy_to(buffer.from_handle(start, 4), stream=machine.stream)
    outside = buffer.from_handle(start + machine.frames.size - 2, 4)
    with pytest.raises(RuleBroken, match="living memory"):
        outside.copy_to(buffer.from_handle(start, 4), stream=machine.stream)


def test_memory_of_ones_own_is_given_before_the_run(machine) -> None:
    strategy = machine.trt.ExecutionContextAllocationStrategy.USER_MANAGED
    machine.context = machine.engine.create_execution_context(strategy)
    machine.ready()
    assert not machine.context.execute_async_v3(machine.stream.handle)
    scratch = machine.device.allocate(100, stream=machine.stream)
    with pytest.raises(RuleBroken, match="too small"):
        machine.context.set_device_memory(scratch.handle, scratch.size)


def test_code_on_the_host_is_never_allowed(machine) -> None:
    machine.runtime.engine_host_code_allowed = True
    with pytest.raises(RuleBroken, match="host"):
        machine.runtime.deserialize_cuda_engine(b"")


def test_a_weakly_typed_network_and_tf32_are_refused(gpu) -> None:
    trt = sys.modules["tensorrt"]
    sys.modules["cuda.core"].Device(0).set_current()
    builder = trt.Builder(None)
    with pytest.raises(RuleBroken, match="strongly typed"):
        builder.create_network(0)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    with pytest.raises(RuleBroken, match="TF32"):
        builder.build_serialized_network(network, builder.create_builder_config())


def test_what_is_left_alive_is_counted() -> None:
    with tensorrt_double.installed() as gpu:
        device = sys.modules["cuda.core"].Device(0)
        device.set_current()
        stream = device.create_stream()
        buffer = device.allocate(10, stream=stream)
        assert gpu.leaks() == {"stream": 1, "device memory": 1}
        buffer.close()
        stream.close()
        gc.collect()
        assert gpu.leaks() == {}
