"""The building half of TensorRT: strongly typed networks from ONNX, profiles, plans."""

# ruff: noqa: C901, N806, BLE001, G004 - classes over one machine, in the names of the real libraries

from __future__ import annotations

import enum
import types
import zlib
from typing import Any

from tests.support.tensorrt_double.gpu import Machine, RuleBroken

CACHE_MARK = b"ptrt"
"""What a serialized timing cache begins with."""


def add_builder(trt: Any, gpu: Machine) -> types.ModuleType:
    """Give a module of the execution half its building half."""
    from tests.support.tensorrt_double.execution import write_plan

    BuilderFlag = enum.IntEnum(
        "BuilderFlag", ["TF32", "EDITABLE_TIMING_CACHE", "ERROR_ON_TIMING_CACHE_MISS"], start=0
    )

    class Creation(enum.IntEnum):
        STRONGLY_TYPED = 1

    ComputeCapability = enum.Enum("ComputeCapability", ["NONE", "CURRENT", "SM80", "SM86"])
    MemoryPoolType = enum.Enum("MemoryPoolType", ["WORKSPACE"])

    class Dims(tuple):
        __slots__ = ()

    class Tensor:
        def __init__(self, name: str, shape: tuple[int, ...], dtype: Any) -> None:
            self.name, self.shape, self.dtype = name, Dims(shape), dtype

    class Network:
        def __init__(self, flags: int) -> None:
            if not flags & (1 << Creation.STRONGLY_TYPED):
                raise RuleBroken("the network is not strongly typed")
            self.model: Any = None
            self.inputs: list[Tensor] = []
            self.outputs: list[Tensor] = []

        num_inputs = property(lambda self: len(self.inputs))
        num_outputs = property(lambda self: len(self.outputs))

        def get_input(self, index: int) -> Tensor:
            return self.inputs[index]

        def get_output(self, index: int) -> Tensor:
            return self.outputs[index]

    class ParserError:
        def __init__(self, text: str) -> None:
            self._text = text

        def desc(self) -> str:
            return self._text

        def node_name(self) -> str:
            return "node_Broken"

        def node_operator(self) -> str:
            return "Broken"

    class OnnxParser:
        def __init__(self, network: Network, logger: Any) -> None:
            self.network = network
            self.errors: list[ParserError] = []

        num_errors = property(lambda self: len(self.errors))

        def get_error(self, index: int) -> ParserError:
            return self.errors[index]

        def parse(self, model: bytes) -> bool:
            import onnx

            try:
                self.network.model = onnx.load_from_string(model)
            except Exception as error:
                self.errors.append(ParserError(str(error)))
                return False
            if faults := refusals(self.network.model.graph):
                self.errors += [ParserError(fault) for fault in faults]
                return False
            kinds = {
                1: trt.DataType.FLOAT,
                2: trt.DataType.UINT8,
                7: trt.DataType.INT64,
                9: trt.DataType.BOOL,
                10: trt.DataType.HALF,
                6: trt.DataType.INT32,
            }
            graph = self.network.model.graph
            for found, values in (
                (self.network.inputs, graph.input),
                (self.network.outputs, graph.output),
            ):
                for value in values:
                    tensor = value.type.tensor_type
                    shape = tuple(d.dim_value or -1 for d in tensor.shape.dim)
                    found.append(Tensor(value.name, shape, kinds[tensor.elem_type]))
            return True

    class Profile:
        def __init__(self) -> None:
            self.shapes: dict[str, Any] = {}

        def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:  # noqa: A002 - TensorRT's own names
            if not all(a <= b <= c for a, b, c in zip(min, opt, max, strict=True)):
                raise ValueError("inconsistent profile")
            self.shapes[input] = [list(min), list(opt), list(max)]

    class TimingCache:
        def __init__(self, content: bytes) -> None:
            self.content = content

        def serialize(self) -> bytes:
            return self.content

    class Config:
        def __init__(self) -> None:
            self.flags = {BuilderFlag.TF32}
            self.profiles: list[Profile] = []
            self.workspace: int | None = None
            self.progress_monitor: Any = None
            self.builder_optimization_level = 3
            self.cache: TimingCache | None = None
            self.num_compute_capabilities = 0

        def set_compute_capability(self, compute_capability: Any, index: int) -> bool:
            if not isinstance(compute_capability, ComputeCapability):
                raise TypeError("set_compute_capability(): incompatible function arguments")
            return 0 <= index < self.num_compute_capabilities

        def set_flag(self, flag: Any) -> None:
            self.flags.add(flag)

        def clear_flag(self, flag: Any) -> None:
            self.flags.discard(flag)

        def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
            self.workspace = pool_size

        def add_optimization_profile(self, profile: Profile) -> int:
            self.profiles.append(profile)
            return len(self.profiles) - 1

        def create_timing_cache(self, serialized_timing_cache: bytes) -> TimingCache:
            # What it cannot read it passes over with a warning, as the real one was seen to do.
            known = serialized_timing_cache.startswith(CACHE_MARK)
            return TimingCache(serialized_timing_cache if known else CACHE_MARK)

        def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool:
            self.cache = cache
            return b"foreign" not in cache.content

        def get_timing_cache(self) -> TimingCache | None:
            return self.cache

    class Builder:
        def __init__(self, logger: Any) -> None:
            gpu.need_current()
            self.logger = logger

        def create_network(self, flags: int = 0) -> Network:
            return Network(flags)

        def create_builder_config(self) -> Config:
            return Config()

        def create_optimization_profile(self) -> Profile:
            return Profile()

        def build_serialized_network(self, network: Network, config: Config) -> bytes | None:
            if BuilderFlag.TF32 in config.flags:
                raise RuleBroken("TF32 was left on")
            monitor = config.progress_monitor
            if monitor is not None:
                monitor.phase_start("Building", None, 2)
                going = monitor.step_complete("Building", 0)
                monitor.phase_finish("Building")
                if not going:
                    return None
            for tensor in network.inputs:
                for profile in config.profiles:
                    shapes = profile.shapes.get(tensor.name)
                    if shapes is None or any(
                        n not in (-1, a) for n, a in zip(tensor.shape, shapes[0], strict=True)
                    ):
                        self.logger.log(
                            trt.ILogger.Severity.ERROR,
                            f"{tensor.name}: dynamic input without a profile",
                        )
                        return None
            timed = b"%08x;" % zlib.crc32(network.model.SerializeToString())
            if config.cache is not None and timed not in config.cache.content:
                if BuilderFlag.ERROR_ON_TIMING_CACHE_MISS in config.flags:
                    self.logger.log(
                        trt.ILogger.Severity.ERROR, "a tactic is missing in the timing cache"
                    )
                    return None
                config.cache.content += timed
            gpu.made["build"] += 1
            return write_plan(
                network.model.SerializeToString(),
                [profile.shapes for profile in config.profiles],
                version=trt.__version__,
            )

    class IProgressMonitor:
        def __init__(self) -> None:
            self.ready = True

    trt.Builder, trt.OnnxParser, trt.BuilderFlag = Builder, OnnxParser, BuilderFlag
    trt.NetworkDefinitionCreationFlag, trt.MemoryPoolType = Creation, MemoryPoolType
    trt.ComputeCapability = ComputeCapability
    trt.IProgressMonitor, trt.Dims = IProgressMonitor, Dims
    return trt


def refusals(graph: Any) -> list[str]:
    """What TensorRT's parser refuses and the ``onnx`` package takes, as its builder showed."""
    from onnx import TensorProto, numpy_helper

    integers = {TensorProto.INT8, TensorProto.UINT8}
    constants = {item.name: item for item in graph.initializer}
    kinds = {value.name: value.type.tensor_type.elem_type for value in graph.input}
    found = []
    for node in graph.node:
        quantized = node.op_type in {"QuantizeLinear", "DequantizeLinear"}
        zero = constants.get(node.input[2]) if quantized and len(node.input) > 2 else None
        if zero is not None and numpy_helper.to_array(zero).any():
            found.append(f"{node.op_type}: Assertion failed: shiftIsAllZeros(zeroPoint)")
        for name in node.input:
            is_integer = name in constants and constants[name].data_type in integers
            if is_integer and not quantized:
                found.append(f"{node.op_type}: Quantized constant {name} only allowed before DQ")
            if kinds.get(name) == TensorProto.UINT8 and node.op_type in {"Transpose", "Resize"}:
                found.append(f"{node.op_type}: {name} of type uint8 is not supported")
    return found
