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
    """One input's or output's memory: a device part, and a pinned part of the same size.

    Args:
        cuda: The cuda-core module.
        device: The device, current on this thread.
        stream: The stream that orders the device allocation.
        nbytes: Largest size, bytes.
    """

    def __init__(self, cuda: Any, device: Any, stream: Any, nbytes: int) -> None:
        self._cuda = cuda
        self.nbytes = max(nbytes, 1)
        self._device = device.allocate(self.nbytes, stream=stream)
        try:
            self._pinned: Any = cuda.LegacyPinnedMemoryResource().allocate(self.nbytes)
        except Exception:
            self._device.close(stream)
            raise
        memory = (ctypes.c_ubyte * self.nbytes).from_address(int(self._pinned.handle))
        self._host = np.frombuffer(memoryview(memory), dtype=np.uint8)

    @property
    def address(self) -> int:
        """Where the device part lies."""
        return int(self._device.handle)

    @property
    def pinned_bytes(self) -> int:
        """Size of the pinned part, bytes."""
        return self.nbytes

    def stage(self, array: Array, shape: tuple[int, ...], stream: Any) -> None:
        """Copy an array to the device, padded, in the stream's order.

        Rows that are one row repeated (``numpy.broadcast_to``) cross the bus once.

        Args:
            array: What is sent; the first axis is the batch.
            shape: What it is padded to: within a row by zeros, beyond the last row by that row
                again, which is valid whatever the tensor means.
            stream: The stream.
        """
        one_row = array.strides[0] == 0 or array.shape[0] == 0
        rows = min(1, array.shape[0]) if one_row else array.shape[0]
        row_bytes = prod(shape[1:]) * array.dtype.itemsize
        target = self._host[: rows * row_bytes].view(array.dtype).reshape(rows, *shape[1:])
        if array.shape[1:] != shape[1:]:
            target[...] = 0
        target[(slice(None), *(slice(length) for length in array.shape[1:]))] = array[:rows]
        self._copy(self._pinned, self._device, rows * row_bytes, stream)
        # What is there doubles with each copy within the device.
        first, filled = (rows - 1) * row_bytes, 1
        missing = shape[0] - rows
        while missing > 0:
            taken = min(filled, missing)
            source = self._part(self._device, first, taken * row_bytes)
            repeated = self._part(self._device, first + filled * row_bytes, taken * row_bytes)
            source.copy_to(repeated, stream=stream)
            filled += taken
            missing -= taken

    def download(
        self, shape: tuple[int, ...], wanted: tuple[int, ...], dtype: np.dtype[Any], stream: Any
    ) -> None:
        """Copy the rows that are wanted to the pinned part, in the stream's order.

        Args:
            shape: What the engine computed.
            wanted: The part that belongs to real inputs: the beginning of every axis.
            dtype: Of the tensor.
            stream: The stream.
        """
        nbytes = wanted[0] * prod(shape[1:]) * dtype.itemsize
        self._copy(self._device, self._pinned, nbytes, stream)

    def read(self, shape: tuple[int, ...], wanted: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """A fresh array with the part that :meth:`download` brought, once the stream is idle."""
        nbytes = wanted[0] * prod(shape[1:]) * dtype.itemsize
        whole = self._host[:nbytes].view(dtype).reshape(wanted[0], *shape[1:])
        content: Array = whole[tuple(slice(length) for length in wanted)].copy()
        return content

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
            source.copy_to(self._part(self._device, 0, array.nbytes), stream=stream)
        return view

    def close(self, stream: Any) -> None:
        """Give both parts back; the stream must be idle."""
        del self._host
        self._pinned.close()
        self._device.close(stream)

    def _copy(self, source: Any, target: Any, nbytes: int, stream: Any) -> None:
        if nbytes:
            self._part(source, 0, nbytes).copy_to(self._part(target, 0, nbytes), stream=stream)

    def _part(self, buffer: Any, start: int, nbytes: int) -> Any:
        if nbytes == self.nbytes:
            return buffer
        return self._cuda.Buffer.from_handle(int(buffer.handle) + start, nbytes, owner=buffer)


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
