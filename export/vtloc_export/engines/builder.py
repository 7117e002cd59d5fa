"""Build one plan: an ONNX network, its profiles and settings, through either TensorRT flavour.

The network is always strongly typed: its precision is the one the ONNX file has, in TensorRT 10,
11 and RTX alike, and nothing is rounded behind the exporter's back.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vtloc_export.engines.progress import Interruption, make_monitor
from vtloc_runtime.errors import EngineError
from vtloc_runtime.networks.tensorrt.api import messages_of, numpy_dtype, one_line
from vtloc_runtime.networks.tensorrt.layout import profile_shapes

if TYPE_CHECKING:
    from collections.abc import Callable

    from vtloc_export.engines.progress import BuildProgress
    from vtloc_export.engines.target import EngineBuilder
    from vtloc_runtime.bundle.engine_file import AxisRange, EngineSettings
    from vtloc_runtime.bundle.manifest import NetworkFile, TensorEntry


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What to build.

    Attributes:
        title: The network and precision, for messages.
        model: The ONNX file's bytes.
        network: Its inputs and outputs.
        profiles: The range of every dynamic axis, a profile each.
        settings: The builder's settings.
        timing_cache: The timing cache to start from; None uses none, empty starts one.
    """

    title: str
    model: bytes
    network: NetworkFile
    profiles: tuple[dict[str, AxisRange], ...]
    settings: EngineSettings
    timing_cache: bytes | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What came out.

    Attributes:
        content: The serialized engine.
        seconds: How long the build took.
        timing_cache: The timing cache after the build, where one was used.
    """

    content: bytes
    seconds: float
    timing_cache: bytes | None

    @property
    def sha256(self) -> str:
        """Hash of the serialized engine."""
        return hashlib.sha256(self.content).hexdigest()


class _Build:
    """One build; TensorRT's objects live as long as it does."""

    def __init__(self, builder: EngineBuilder, request: PlanRequest) -> None:
        self._builder, self._request = builder, request
        self._trt = builder.api.module
        self._messages = messages_of(builder.api)
        self._trt_builder = self._trt.Builder(self._messages.logger)

    def run(self, progress: BuildProgress) -> Plan:
        network = self._parse()
        config = self._configure()
        self._add_profiles(network, config)
        cache = self._attach_timing_cache(config)
        interruption = Interruption()
        config.progress_monitor = make_monitor(self._builder.api, progress, interruption)
        started = time.perf_counter()
        plan = self._trt_builder.build_serialized_network(network, config)
        interruption.resume()
        if plan is None:
            raise self._failed(f"TensorRT does not build it: {self._messages.drain()}")
        return Plan(
            bytes(plan),
            time.perf_counter() - started,
            None if cache is None else bytes(cache.serialize()),
        )

    def _parse(self) -> Any:
        flag = self._trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED
        network = self._trt_builder.create_network(1 << int(flag))
        parser = self._trt.OnnxParser(network, self._messages.logger)
        if not parser.parse(self._request.model):
            faults = [parser.get_error(index) for index in range(parser.num_errors)]
            said = "; ".join(
                f"{fault.node_operator() or 'graph'} {fault.node_name()}: {fault.desc()}"
                for fault in faults
            )
            raise self._failed(
                f"TensorRT refuses the ONNX file: {one_line(said) or self._messages.drain()}"
            )
        takes = [network.get_input(index) for index in range(network.num_inputs)]
        gives = [network.get_output(index) for index in range(network.num_outputs)]
        self._compare("takes", takes, self._request.network.inputs)
        self._compare("gives", gives, self._request.network.outputs)
        return network

    def _compare(self, verb: str, tensors: list[Any], entries: tuple[TensorEntry, ...]) -> None:
        """Refuse a file whose inputs or outputs have other names or types than the manifest says.

        An engine takes its types from the file: FP32 there is an FP32 engine, whatever it is
        called.
        """
        found = {one.name: numpy_dtype(self._builder.api, one.dtype).name for one in tensors}
        wanted = {entry.name: entry.dtype for entry in entries}
        if found != wanted:
            raise self._failed(
                f"the ONNX file {verb} {_described(found)}, the manifest says {_described(wanted)}",
                remedy="Export the bundle again",
            )

    def _configure(self) -> Any:
        trt, settings = self._trt, self._request.settings
        config = self._trt_builder.create_builder_config()
        config.builder_optimization_level = settings.optimization_level
        if not settings.tf32:
            config.clear_flag(trt.BuilderFlag.TF32)
        if settings.workspace is not None:
            config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace)
        if self._builder.capability is not None:
            config.num_compute_capabilities = 1
            if not config.set_compute_capability(self._builder.capability, 0):
                raise self._failed(f"the target {self._builder.target.sm} was refused")
        return config

    def _add_profiles(self, network: Any, config: Any) -> None:
        dynamic = any(
            -1 in tuple(network.get_input(index).shape) for index in range(network.num_inputs)
        )
        if not dynamic:
            return
        for ranges in self._request.profiles:
            profile = self._trt_builder.create_optimization_profile()
            for entry in self._request.network.inputs:
                profile.set_shape(entry.name, *profile_shapes(entry, ranges))
            if config.add_optimization_profile(profile) < 0:
                raise self._failed(f"a profile was refused: {self._messages.drain()}")

    def _attach_timing_cache(self, config: Any) -> Any:
        content = self._request.timing_cache
        if content is None:
            return None
        flags = self._trt.BuilderFlag
        # Editable caches hold every timing under a stable key, which makes rebuilds reproducible.
        config.set_flag(flags.EDITABLE_TIMING_CACHE)
        if self._request.settings.frozen_timings:
            config.set_flag(flags.ERROR_ON_TIMING_CACHE_MISS)
        cache = config.create_timing_cache(content)
        if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
            raise self._failed(
                f"the timing cache is of another TensorRT or GPU: {self._messages.drain()}",
                remedy="Name a new file with --timing-cache",
            )
        return cache

    def _failed(self, what: str, remedy: str | None = None) -> EngineError:
        return EngineError(what, where=self._request.title, remedy=remedy)


def _described(tensors: dict[str, str]) -> str:
    return ", ".join(f"{name} ({dtype})" for name, dtype in sorted(tensors.items())) or "nothing"


def reads_timing_cache(builder: EngineBuilder, content: bytes) -> bool:
    """Whether TensorRT takes these bytes for a timing cache, of whatever version or GPU.

    What it cannot read it passes over in silence, and starts an empty cache.
    """
    if not content:
        return True
    messages = messages_of(builder.api)
    config = builder.api.module.Builder(messages.logger).create_builder_config()
    config.set_flag(builder.api.module.BuilderFlag.EDITABLE_TIMING_CACHE)
    empty, cache = (config.create_timing_cache(one) for one in (b"", content))
    messages.drain()
    return cache is not None and (
        bytes(cache.serialize()) != bytes(empty.serialize()) or content == bytes(empty.serialize())
    )


def build_plan(
    builder: EngineBuilder,
    request: PlanRequest,
    *,
    progress: BuildProgress,
    record: Callable[[str], None],
) -> Plan:
    """Build one plan.

    Args:
        builder: Which flavour, and for which machine.
        request: What to build.
        progress: Who listens.
        record: Gets the builder's log, a line at a time.

    Raises:
        EngineError: TensorRT refuses the network, its profiles or the timing cache, and why.
    """
    with messages_of(builder.api).recorded(record):
        return _Build(builder, request).run(progress)
