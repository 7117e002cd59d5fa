"""The execution half of TensorRT: runtime, engine and context, with the rules that hold."""

# ruff: noqa: C901, N806 - classes over one machine, in the names of the real libraries

from __future__ import annotations

import enum
import json
import threading
import types
from typing import Any

import numpy as np

from tests.support.tensorrt_double.gpu import Machine, RuleBroken

MAGIC = b"DOUBLE-PLAN\n"
DEFAULT_STREAMS = {0, 1, 2}


def write_plan(onnx_bytes: bytes, profiles: list[dict[str, Any]], **header: Any) -> bytes:
    """A plan as the double reads it: profiles and the ONNX model that it computes with."""
    head = json.dumps({"profiles": profiles, **header}).encode()
    return MAGIC + len(head).to_bytes(8, "little") + head + onnx_bytes


def make_module(gpu: Machine, version: str) -> types.ModuleType:
    """A module like ``tensorrt``, execution part."""
    trt: Any = types.ModuleType("tensorrt")
    trt.__version__ = version

    class ILogger:
        class Severity(enum.IntEnum):
            INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

        def __init__(self) -> None:
            self.ready = True

    Severity = ILogger.Severity

    class DataType(enum.Enum):
        FLOAT, HALF, INT8, INT32, INT64, BOOL, UINT8, BF16 = range(8)

    types_of = {
        DataType.FLOAT: np.float32,
        DataType.HALF: np.float16,
        DataType.INT8: np.int8,
        DataType.INT32: np.int32,
        DataType.INT64: np.int64,
        DataType.BOOL: np.bool_,
        DataType.UINT8: np.uint8,
    }

    def nptype(dtype: DataType) -> Any:
        if dtype not in types_of:
            raise TypeError("Could not resolve TensorRT datatype to an equivalent numpy datatype.")
        return types_of[dtype]

    TensorIOMode = enum.Enum("TensorIOMode", ["NONE", "INPUT", "OUTPUT"])

    class Strategy(enum.Enum):
        STATIC, ON_PROFILE_CHANGE, USER_MANAGED = range(3)

    CudaGraphStrategy = enum.Enum("CudaGraphStrategy", ["DISABLED", "WHOLE_GRAPH_CAPTURE"])

    class Runtime:
        def __init__(self, logger: Any) -> None:
            if not getattr(logger, "ready", False):
                raise TypeError("ILogger.__init__ was not called")
            self.logger, self.engine_host_code_allowed = logger, False
            self.tempfile_control_flags = 3
            gpu.born("runtime")

        def __del__(self) -> None:
            gpu.gone("runtime")

        def deserialize_cuda_engine(self, serialized_engine: bytes) -> Any:
            gpu.need_current()
            if self.engine_host_code_allowed:
                raise RuleBroken("a plan was allowed to run code on the host")
            if self.tempfile_control_flags:
                raise RuleBroken("a plan was allowed to bring files that are loaded")
            if not serialized_engine.startswith(MAGIC):
                self.logger.log(
                    Severity.ERROR,
                    "IRuntime::deserializeCudaEngine: Error Code 1: "
                    "Serialization (Magic tag does not match)",
                )
                return None
            start = len(MAGIC) + 8
            length = int.from_bytes(serialized_engine[len(MAGIC) : start], "little")
            head = json.loads(serialized_engine[start : start + length])
            if head.get("version", version) != version:
                self.logger.log(
                    Severity.ERROR,
                    "The engine plan file is not compatible with this version of TensorRT",
                )
                return None
            return ICudaEngine(self, head, serialized_engine[start + length :])

    class ICudaEngine:
        def __init__(self, runtime: Runtime, head: dict[str, Any], onnx_bytes: bytes) -> None:
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            options.log_severity_level = 3
            self._runtime, self.logger = runtime, runtime.logger
            self.ordinal = gpu.need_current()
            self._session = onnxruntime.InferenceSession(
                onnx_bytes, options, providers=["CPUExecutionProvider"]
            )
            self._profiles = head["profiles"]
            self._inputs = {t.name: t for t in self._session.get_inputs()}
            self._outputs = {t.name: t for t in self._session.get_outputs()}
            self.num_io_tensors = len(self._inputs) + len(self._outputs)
            self.num_optimization_profiles = len(self._profiles)
            sizes = [
                self.get_device_memory_size_for_profile_v2(n) for n in range(len(self._profiles))
            ]
            self.device_memory_size_v2 = max(sizes)
            gpu.born("engine")

        def __del__(self) -> None:
            gpu.gone("engine")

        def get_tensor_name(self, index: int) -> str:
            return [*self._inputs, *self._outputs][index]

        def get_tensor_mode(self, name: str) -> Any:
            return TensorIOMode.INPUT if name in self._inputs else TensorIOMode.OUTPUT

        def get_tensor_dtype(self, name: str) -> DataType:
            kinds = {
                "tensor(float)": DataType.FLOAT,
                "tensor(float16)": DataType.HALF,
                "tensor(int64)": DataType.INT64,
                "tensor(int32)": DataType.INT32,
                "tensor(bool)": DataType.BOOL,
                "tensor(uint8)": DataType.UINT8,
            }
            return kinds[(self._inputs.get(name) or self._outputs[name]).type]

        def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[Any]:
            return [list(shape) for shape in self._profiles[profile_index][name]]

        def get_device_memory_size_for_profile_v2(self, profile_index: int) -> int:
            largest = (shapes[2] for shapes in self._profiles[profile_index].values())
            return 16 * sum(int(np.prod(shape)) for shape in largest)

        def create_runtime_config(self) -> Any:
            return IRuntimeConfig()

        def create_execution_context(self, strategy: Any = Strategy.STATIC) -> Any:
            gpu.need_current(self.ordinal)
            if isinstance(strategy, IRuntimeConfig):
                gpu.made[f"{strategy.cuda_graph_strategy.name} context"] += 1
                strategy = strategy.strategy
            return IExecutionContext(self, strategy)

        def compute(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            return dict(zip(self._outputs, self._session.run(None, arrays), strict=True))

    class IRuntimeConfig:
        def __init__(self) -> None:
            self.strategy = Strategy.STATIC
            self.cuda_graph_strategy = CudaGraphStrategy.DISABLED

        def set_execution_context_allocation_strategy(self, strategy: Any) -> None:
            self.strategy = strategy

    class IExecutionContext:
        def __init__(self, engine: ICudaEngine, strategy: Any) -> None:
            self._engine, self._strategy = engine, strategy
            self._profile: int | None = 0 if engine.num_optimization_profiles == 1 else None
            self._profile_stream: int | None = None
            self._shapes: dict[str, tuple[int, ...]] = {}
            self._inferred: dict[str, tuple[int, ...]] | None = None
            self._addresses: dict[str, int] = {}
            self._scratch: tuple[int, int] | None = None
            self._flushed = False
            self._busy = threading.Lock()
            gpu.born("context")

        def __del__(self) -> None:
            gpu.gone("context")

        def _error(self, message: str) -> bool:
            self._engine.logger.log(Severity.ERROR, message)
            return False

        def _alone(self) -> Any:
            if not self._busy.acquire(blocking=False):
                raise RuleBroken("a context was used by two threads at once")
            return _Released(self._busy)

        def _changed(self) -> None:
            self._flushed = False

        def set_device_memory(self, memory: int, size: int) -> None:
            with self._alone():
                if self._strategy is not Strategy.USER_MANAGED:
                    raise RuleBroken("memory for a context that manages its own")
                if memory % 256 or size < self._engine.device_memory_size_v2:
                    raise RuleBroken("the context's memory is too small or not aligned")
                gpu.memory(memory, size, kinds=("device",))
                self._scratch = (memory, size)
                self._changed()

        def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
            with self._alone():
                if stream_handle in DEFAULT_STREAMS or stream_handle not in gpu.streams:
                    raise RuleBroken("a profile was set on a default or unknown stream")
                if not 0 <= profile_index < self._engine.num_optimization_profiles:
                    self._error(f"Profile index {profile_index} is out of range")
                    raise RuntimeError("Error in set optimization profile.")
                self._profile, self._profile_stream = profile_index, stream_handle
                gpu.streams[stream_handle].add(self._profile_is_set)
                self._shapes.clear()
                self._inferred = None
                self._changed()
                return True

        def _profile_is_set(self) -> None:
            self._profile_stream = None

        def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
            with self._alone():
                if self._profile is None or self._profile_stream is not None:
                    raise RuleBroken("shapes were set before the profile was")
                if not isinstance(shape, (tuple, list)):
                    raise TypeError("set_input_shape(): incompatible function arguments")
                low, _, high = self._engine._profiles[self._profile][name]
                if len(shape) != len(low) or not all(
                    a <= n <= b for a, n, b in zip(low, shape, high, strict=True)
                ):
                    return self._error(
                        f"IExecutionContext::setInputShape: Error Code 3: API Usage Error "
                        f"({name}: {tuple(shape)} is out of profile {self._profile})"
                    )
                if self._shapes.get(name) != tuple(shape):
                    self._shapes[name] = tuple(shape)
                    self._inferred = None
                    self._changed()
                return True

        def infer_shapes(self) -> list[str]:
            with self._alone():
                missing = [name for name in self._engine._inputs if name not in self._shapes]
                if not missing:
                    dummies = {
                        name: np.zeros(shape, nptype(self._engine.get_tensor_dtype(name)))
                        for name, shape in self._shapes.items()
                    }
                    shapes = {n: a.shape for n, a in self._engine.compute(dummies).items()}
                    self._inferred = shapes
                return missing

        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            if name in self._shapes:
                return self._shapes[name]
            if self._inferred is None:
                return (-1,)
            return self._inferred[name]

        def set_tensor_address(self, name: str, memory: int) -> bool:
            with self._alone():
                if self._inferred is None:
                    raise RuleBroken("addresses were set before the shapes were inferred")
                if name not in self._engine._inputs and name not in self._engine._outputs:
                    return self._error(f"unknown tensor {name}")
                if memory % 256:
                    raise RuleBroken(f"the address of {name} is not aligned")
                if self._addresses.get(name) != memory:
                    self._addresses[name] = memory
                    self._changed()
                return True

        def execute_async_v3(self, stream_handle: int) -> bool:
            with self._alone():
                ordinal = gpu.need_current(self._engine.ordinal)
                if gpu.lost:
                    return self._error("IExecutionContext::enqueueV3: Error Code 1: Cuda Runtime")
                if stream_handle in DEFAULT_STREAMS or stream_handle not in gpu.streams:
                    raise RuleBroken("a run was put into a default or unknown stream")
                queue = gpu.streams[stream_handle]
                if self._inferred is None:
                    return self._error("IExecutionContext::enqueueV3: shapes are not specified")
                if self._strategy is Strategy.USER_MANAGED and self._scratch is None:
                    return self._error("IExecutionContext::enqueueV3: no device memory was given")
                if set(self._addresses) != {*self._engine._inputs, *self._engine._outputs}:
                    return self._error("IExecutionContext::enqueueV3: a tensor has no address")
                if queue.ordinal != ordinal:
                    raise RuleBroken(f"a run of cuda:{ordinal} on a stream of cuda:{queue.ordinal}")
                gpu.need_one_device(ordinal, list(self._addresses.values()))
                if queue.recording is not None:
                    if not self._flushed or not gpu.capturable:
                        queue.capture_broken = True
                        return self._error(
                            "enqueueV3: operation not permitted when stream is capturing"
                        )
                    gpu.made["capture"] += 1
                else:
                    self._flushed = True
                    gpu.launches["enqueue"] += 1
                    gpu.runs[ordinal] += 1
                queue.add(self._work())
                return True

        def _work(self) -> Any:
            shapes, outputs = dict(self._shapes), dict(self._inferred or {})
            addresses, scratch = dict(self._addresses), self._scratch

            def run() -> None:
                # A graph replays what it captured; the context must still be as it was then.
                if (self._shapes, self._addresses, self._scratch) != (shapes, addresses, scratch):
                    raise RuleBroken("a context was changed under work that was enqueued from it")
                if scratch is not None:
                    gpu.memory(*scratch, kinds=("device",))[:] = 0
                arrays = {}
                for name, shape in shapes.items():
                    dtype = np.dtype(nptype(self._engine.get_tensor_dtype(name)))
                    size = int(np.prod(shape)) * dtype.itemsize
                    raw = gpu.memory(addresses[name], size, kinds=("device",))
                    arrays[name] = raw.view(dtype).reshape(shape).copy()
                for name, array in self._engine.compute(arrays).items():
                    if array.shape != outputs[name]:
                        raise RuleBroken("an output has another shape than was inferred")
                    raw = gpu.memory(addresses[name], array.nbytes, kinds=("device",))
                    raw[:] = np.ascontiguousarray(array).view(np.uint8).reshape(-1)

            return run

    class _Released:
        def __init__(self, lock: threading.Lock) -> None:
            self._lock = lock

        def __enter__(self) -> None: ...

        def __exit__(self, *_: object) -> None:
            self._lock.release()

    trt.ILogger, trt.Runtime, trt.nptype, trt.DataType = ILogger, Runtime, nptype, DataType
    trt.TensorIOMode, trt.ExecutionContextAllocationStrategy = TensorIOMode, Strategy
    trt.CudaGraphStrategy = CudaGraphStrategy
    trt.ICudaEngine, trt.IExecutionContext = ICudaEngine, IExecutionContext
    return trt
