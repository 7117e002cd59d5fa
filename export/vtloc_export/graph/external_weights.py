"""Weights in a file beside the ONNX file, for networks above protobuf's limit of 2 GiB."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vtloc_export.errors import ExportError
from vtloc_runtime.bundle.onnx_file import OnnxFile

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

    from vtloc_runtime.bundle.manifest import NetworkName

LARGEST_GRAPH = 2**31 - 2**24
"""Bytes of weights up to which a graph is one file: protobuf's 2 GiB, less room for the nodes."""

_LEAST = 1024
"""Smaller tensors stay in the graph: shapes and axes that other tools read there."""
_ALIGNED = 64


@dataclass(frozen=True, slots=True, eq=False)
class SavedGraph:
    """A graph as the files that a bundle holds.

    Attributes:
        content: The ONNX file.
        external: The file beside it that holds its weights; None where the ONNX file does.
        location: What the ONNX file calls that file.
    """

    content: bytes = field(repr=False)
    external: bytes | None = field(default=None, repr=False)
    location: str = ""

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return len(self.content) + len(self.external or b"")

    def opened(self) -> OnnxFile:
        """The network, ready to be run."""
        external = {} if self.external is None else {self.location: self.external}
        return OnnxFile(self.content, external, where=self.location or None)


def saved_graph(
    model: ModelProto, network: NetworkName, location: str, *, limit: int = LARGEST_GRAPH
) -> SavedGraph:
    """Serialize a graph, with its weights in a file beside it where one file cannot hold them.

    Args:
        model: The graph; unchanged when this returns.
        network: Which network, for messages.
        location: The name of the file beside it.
        limit: Most bytes of weights that stay in the ONNX file.

    Raises:
        ExportError: The rest of the graph is still larger than one file may be.
    """
    weights = [tensor for tensor in model.graph.initializer if len(tensor.raw_data) >= _LEAST]
    if sum(len(tensor.raw_data) for tensor in weights) <= limit:
        return SavedGraph(_serialized(model, network))
    external: list[bytes] = []
    place = 0
    # Taken out and put back: a copy of the graph would hold every weight once more.
    taken = [(tensor, tensor.raw_data) for tensor in weights]
    try:
        for tensor, numbers in taken:
            gap = -place % _ALIGNED
            _point(tensor, location, place + gap, len(numbers))
            external += [b"\0" * gap, numbers]
            place += gap + len(numbers)
        content = _serialized(model, network)
        joined = b"".join(external)
    finally:
        for tensor, numbers in taken:
            tensor.ClearField("external_data")
            tensor.ClearField("data_location")
            tensor.raw_data = numbers
    return SavedGraph(content, joined, location)


def _point(tensor: TensorProto, location: str, offset: int, length: int) -> None:
    tensor.ClearField("raw_data")
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
