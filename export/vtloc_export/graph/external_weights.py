"""Weights in a file beside the ONNX file, for networks above protobuf's limit of 2 GiB."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vtloc_export.errors import ExportError
from vtloc_runtime.bundle.manifest import ExternalFile
from vtloc_runtime.bundle.onnx_file import OnnxFile

if TYPE_CHECKING:
    from pathlib import Path

    from onnx import ModelProto, TensorProto

    from vtloc_runtime.bundle.manifest import NetworkName

LARGEST_GRAPH = 2**31 - 2**24
"""Bytes of weights up to which a graph is one file: protobuf's 2 GiB, less room for the nodes."""

_LEAST = 1024
"""Smaller tensors stay in the graph: shapes and axes that other tools read there."""
_ALIGNED = 64


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


def write_graph(
    model: ModelProto, network: NetworkName, path: Path, *, limit: int = LARGEST_GRAPH
) -> WrittenGraph:
    """Write a graph, with its weights in a file beside it where one file cannot hold them.

    Args:
        model: The graph.
        network: Which network, for messages.
        path: The ONNX file to make.
        limit: Most bytes of weights that stay in the ONNX file.

    Raises:
        ExportError: The rest of the graph is still larger than one file may be.
    """
    external = None
    sizes = (len(tensor.raw_data) for tensor in model.graph.initializer)
    if sum(size for size in sizes if size >= _LEAST) > limit:
        beside = path.with_name(f"{path.name}.data")
        model, external = _write_weights(model, beside)
    content = _serialized(model, network)
    path.write_bytes(content)
    return WrittenGraph(path, hashlib.sha256(content).hexdigest(), len(content), external)


def _write_weights(model: ModelProto, beside: Path) -> tuple[ModelProto, ExternalFile]:
    """Write a graph's weights into a file, and give the graph that points into it."""
    # Taking weights out of a graph frees nothing before all of it goes, and a copy of the whole
    # would hold each once more: so the rest is copied, and one weight at a time is read.
    bare = _copy(model, without="graph")
    bare.graph.CopyFrom(_copy(model.graph, without="initializer"))
    digest = hashlib.sha256()
    place = 0
    with beside.open("wb") as file:
        for tensor in model.graph.initializer:
            numbers = tensor.raw_data
            if len(numbers) < _LEAST:
                bare.graph.initializer.add().CopyFrom(tensor)
                continue
            for part in (b"\0" * (-place % _ALIGNED), numbers):
                file.write(part)
                digest.update(part)
                place += len(part)
            pointer = bare.graph.initializer.add()
            pointer.CopyFrom(_copy(tensor, without="raw_data"))
            _point(pointer, beside.name, place - len(numbers), len(numbers))
    return bare, ExternalFile(file=beside.name, sha256=digest.hexdigest(), bytes=place)


def _copy(message: Any, *, without: str) -> Any:
    """A copy of a protobuf message without one of its fields."""
    copy = type(message)()
    for field, value in message.ListFields():
        if field.name == without:
            continue
        if hasattr(value, "MergeFrom"):
            getattr(copy, field.name).MergeFrom(value)
        else:
            setattr(copy, field.name, value)
    return copy


def _point(tensor: TensorProto, location: str, offset: int, length: int) -> None:
    tensor.data_location = type(tensor).EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, str(value)


def _serialized(model: ModelProto, network: NetworkName) -> bytes:
    from google.protobuf.message import EncodeError

    try:
        content: bytes = model.SerializeToString()
    except (ValueError, EncodeError) as error:
        raise ExportError(
            "the graph is larger than the 2 GiB that one ONNX file may hold",
            where=f"the {network} network",
            remedy="Export it in fp16 only, or take a smaller encoder",
        ) from error
    return content
