"""The files of a graph: one, or above protobuf's 2 GiB two, the second with its weights."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vtloc_runtime.bundle.manifest import ExternalFile
from vtloc_runtime.bundle.onnx_file import OnnxFile

if TYPE_CHECKING:
    from pathlib import Path

    from onnx import ModelProto, TensorProto

LARGEST_GRAPH = 2**31 - 2**24
"""Bytes of weights up to which a graph is one file: protobuf's 2 GiB, less room for the nodes."""

_LEAST = 1024
"""Smaller tensors stay in the graph: shapes and axes that other tools read there."""
_ALIGNED = 64
_LENGTH_DELIMITED = 2
"""Protobuf's wire type of messages, texts and bytes."""


@dataclass(frozen=True, slots=True)
class WrittenGraph:
    """A graph as the files that a bundle holds.

    Attributes:
        path: The ONNX file.
        sha256: Hash of its bytes, lower-case hex.
        bytes: Its size.
        external: The file beside it that holds its weights; None where the ONNX file does.
    """

    path: Path
    sha256: str
    bytes: int
    external: ExternalFile | None = None

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return self.bytes + (0 if self.external is None else self.external.bytes)

    def opened(self) -> OnnxFile:
        """The network, read back and ready to be run."""
        beside = () if self.external is None else (self.external.file,)
        weights = {name: self.path.with_name(name).read_bytes() for name in beside}
        return OnnxFile(self.path.read_bytes(), weights, where=self.path.name)


def write_graph(model: ModelProto, path: Path, *, limit: int = LARGEST_GRAPH) -> WrittenGraph:
    """Write a graph, with its weights in a file beside it where one file cannot hold them.

    One weight at a time is copied out of the graph, which serialized as a whole would be in memory
    twice.

    Args:
        model: The graph.
        path: The ONNX file to make.
        limit: Most bytes of weights that stay in the ONNX file.
    """
    weights: Sequence[TensorProto] = model.graph.initializer
    external = None
    sizes = (len(tensor.raw_data) for tensor in weights)
    if sum(size for size in sizes if size >= _LEAST) > limit:
        weights, external = _write_weights(weights, path.with_name(f"{path.name}.data"))
    digest = hashlib.sha256()
    written = 0
    with path.open("wb") as file:
        for part in _serialized(model, weights):
            file.write(part)
            digest.update(part)
            written += len(part)
    return WrittenGraph(path, digest.hexdigest(), written, external)


def _write_weights(
    weights: Sequence[TensorProto], beside: Path
) -> tuple[list[TensorProto], ExternalFile]:
    """Write weights into a file, and give the tensors that point into it."""
    pointers: list[TensorProto] = []
    digest = hashlib.sha256()
    place = 0
    with beside.open("wb") as file:
        for tensor in weights:
            numbers = tensor.raw_data
            if len(numbers) < _LEAST:
                pointers.append(tensor)
                continue
            for part in (b"\0" * (-place % _ALIGNED), numbers):
                file.write(part)
                digest.update(part)
                place += len(part)
            pointer = _part(tensor, lambda field: field != "raw_data")
            _point(pointer, beside.name, place - len(numbers), len(numbers))
            pointers.append(pointer)
    return pointers, ExternalFile(file=beside.name, sha256=digest.hexdigest(), bytes=place)


def _serialized(model: ModelProto, weights: Sequence[TensorProto]) -> Iterator[bytes]:
    """The bytes of a graph with these weights in place of its own, a weight at a time.

    They are those of ``SerializeToString``, which writes fields in the order of their numbers.
    """
    sizes = [tensor.ByteSize() for tensor in weights]
    headers = [_header(model.graph, "initializer", size) for size in sizes]
    before, after = _around(model.graph, "initializer")
    length = len(before) + sum(len(header) for header in headers) + sum(sizes) + len(after)
    start, end = _around(model, "graph")
    yield start + _header(model, "graph", length) + before
    for header, tensor in zip(headers, weights, strict=True):
        yield header
        yield tensor.SerializeToString()
    yield after + end


def _around(message: Any, name: str) -> tuple[bytes, bytes]:
    """What a protobuf message holds before one of its fields, and after it."""
    numbers = {field.name: field.number for field in message.DESCRIPTOR.fields}
    before = _part(message, lambda field: numbers[field] < numbers[name])
    after = _part(message, lambda field: numbers[field] > numbers[name])
    return before.SerializeToString(), after.SerializeToString()


def _header(message: Any, name: str, length: int) -> bytes:
    """What stands before a message of so many bytes in a field of another."""
    number = message.DESCRIPTOR.fields_by_name[name].number
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(length)


def _varint(value: int) -> bytes:
    """A number as protobuf writes it: seven bits a byte, the lowest first."""
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def _part(message: Any, keeps: Callable[[str], bool]) -> Any:
    """A copy of a protobuf message with some of its fields, chosen by name."""
    part = type(message)()
    for field, value in message.ListFields():
        if not keeps(field.name):
            continue
        if hasattr(value, "MergeFrom"):
            getattr(part, field.name).MergeFrom(value)
        else:
            setattr(part, field.name, value)
    return part


def _point(tensor: TensorProto, location: str, offset: int, length: int) -> None:
    tensor.data_location = type(tensor).EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, str(value)
