"""Memory that TensorRT reads and writes: pinned on the host, plain on the device.

Every buffer is made once, as large as the largest profile asks for. Its address then never
changes, which is what CUDA graphs need, and running allocates nothing.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from vtloc_runtime.errors import NetworkError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vtloc_runtime.networks.interface import Array

DLPACK_CPU = 1
DLPACK_CUDA_HOST = 3
DLPACK_CUDA = 2


@dataclass(frozen=True, slots=True)
class DeviceArray:
    """An array that lies on the GPU already, lent by another library through DLPack.

    Attributes:
        source: The object that owns the memory.
        shape: Its shape.
        dtype: Its numpy dtype.
    """

    source: Any
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def ndim(self) -> int:
        """How many axes it has."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Its size, bytes."""
        return prod(self.shape) * self.dtype.itemsize


class TensorBuffer:
    """One input's or output's memory: a pinned part and a device part of the same size.

    Args:
        cuda: The cuda-core module.
        device: The device, current on this thread.
        stream: The stream that orders the device allocation.
        nbytes: Largest size, bytes.
    """

    def __init__(self, cuda: Any, device: Any, stream: Any, nbytes: int) -> None:
        self._cuda = cuda
        self.nbytes = max(nbytes, 1)
        self._pinned = cuda.LegacyPinnedMemoryResource().allocate(self.nbytes)
        try:
            self._device = device.allocate(self.nbytes, stream=stream)
        except Exception:
            self._pinned.close()
            raise
        memory = (ctypes.c_ubyte * self.nbytes).from_address(int(self._pinned.handle))
        self._host = np.frombuffer(memoryview(memory), dtype=np.uint8)

    @property
    def address(self) -> int:
        """Where the device part lies."""
        return int(self._device.handle)

    def write(self, array: Array) -> None:
        """Copy an array into the pinned part."""
        target = self._host[: array.nbytes].view(array.dtype).reshape(array.shape)
        np.copyto(target, array)

    def read(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """A fresh array with what the pinned part holds."""
        nbytes = prod(shape) * dtype.itemsize
        content: Array = self._host[:nbytes].view(dtype).reshape(shape).copy()
        return content

    def upload(self, nbytes: int, stream: Any) -> None:
        """Copy the pinned part to the device, in the stream's order."""
        if nbytes:
            self._part(self._pinned, nbytes).copy_to(
                self._part(self._device, nbytes), stream=stream
            )

    def download(self, nbytes: int, stream: Any) -> None:
        """Copy the device part to the pinned one, in the stream's order."""
        if nbytes:
            self._part(self._device, nbytes).copy_to(
                self._part(self._pinned, nbytes), stream=stream
            )

    def take(self, array: DeviceArray, stream: Any) -> Any:
        """Copy an array from elsewhere on the device, in the stream's order.

        Returns:
            What must stay alive until the stream was synchronized.

        Raises:
            NetworkError: The array is not contiguous, or lies on another device.
        """
        view = self._cuda.utils.StridedMemoryView.from_dlpack(
            array.source, stream_ptr=int(stream.handle)
        )
        if view.device_id != self._device.device_id:
            raise NetworkError(
                f"an input lies on cuda:{view.device_id}, "
                f"the engine runs on cuda:{self._device.device_id}"
            )
        if view.strides is not None and not _contiguous(view.shape, view.strides):
            raise NetworkError("an input on the device is not contiguous")
        if array.nbytes:
            source = self._cuda.Buffer.from_handle(view.ptr, array.nbytes, owner=view)
            source.copy_to(self._part(self._device, array.nbytes), stream=stream)
        return view

    def close(self, stream: Any) -> None:
        """Give both parts back; the stream must be idle."""
        del self._host
        self._pinned.close()
        self._device.close(stream)

    def _part(self, buffer: Any, nbytes: int) -> Any:
        if nbytes == self.nbytes:
            return buffer
        return self._cuda.Buffer.from_handle(int(buffer.handle), nbytes, owner=buffer)


def device_arrays(cuda: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Tell arrays on the device from arrays on the host.

    Args:
        cuda: The cuda-core module.
        inputs: numpy arrays, or anything that speaks DLPack.

    Returns:
        A numpy array or a `DeviceArray` for each input.

    Raises:
        NetworkError: An input speaks neither language, or lies on some other kind of device.
    """
    return {name: _device_array(cuda, name, value) for name, value in inputs.items()}


def _device_array(cuda: Any, name: str, value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value
    if not hasattr(value, "__dlpack_device__"):
        raise NetworkError(
            f"input {name!r} is a {type(value).__name__}, neither a numpy array nor a DLPack one"
        )
    kind = int(value.__dlpack_device__()[0])
    if kind in {DLPACK_CPU, DLPACK_CUDA_HOST}:
        return np.from_dlpack(value)
    if kind != DLPACK_CUDA:
        raise NetworkError(f"input {name!r} lies on a device of DLPack type {kind}, not on CUDA")
    try:
        # -1: only its description is read here, so no stream needs to wait.
        view = cuda.utils.StridedMemoryView.from_dlpack(value, stream_ptr=-1)
        return DeviceArray(value, tuple(view.shape), np.dtype(view.dtype))
    except Exception as error:  # the lender's own types, and numpy's for dtypes that it lacks
        raise NetworkError(f"input {name!r} cannot be read by DLPack: {error}") from error


def _contiguous(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    expected = 1
    for length, stride in zip(reversed(shape), reversed(strides), strict=True):
        if length > 1 and stride != expected:
            return False
        expected *= length
    return True
