"""An execution context and its rules: shapes, output shapes, addresses, then the enqueue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vtloc_runtime.errors import EngineError, NetworkError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vtloc_runtime.networks.tensorrt.api import Messages, TensorrtApi
    from vtloc_runtime.networks.tensorrt.layout import EngineLayout, Shape


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
    messages: Messages

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
        try:
            # The bindings raise where C++ returns false.
            self._context.set_optimization_profile_async(profile, handle)
        except RuntimeError as error:
            raise EngineError(
                f"profile {profile} could not be set ({error}): {loaded.messages.drain()}",
                where=loaded.name,
            ) from error
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
