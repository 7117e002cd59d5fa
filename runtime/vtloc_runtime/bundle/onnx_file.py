"""What an ONNX file holds that must be known before it is loaded: weights elsewhere, and loops.

A tensor of an ONNX file may name another file for its numbers ("external data"). ONNX Runtime
reads whatever is named, from the current directory where a network comes from memory. So the file
is walked first, by its protobuf wire format and nothing else: messages that cannot hold a tensor
are passed over unread, which takes about as long as finding them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from vtloc_runtime.errors import BundleError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT, _LONGEST_TAG = 10, 5
_DEEPEST = 100
"""Messages inside one another; protobuf's own readers stop there too."""
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_OPERATOR = 4
_ORT_FORMAT = b"ORTM"
_LOOPS: Final = frozenset({b"Loop", b"Scan"})

_Kind: TypeAlias = str
_CHILDREN: Final[Mapping[_Kind, Mapping[int, _Kind]]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
"""Fields of ``onnx.proto`` that lead to tensors, by the message that they are in."""


@dataclass(frozen=True, slots=True)
class ExternalTensor:
    """A tensor whose numbers lie in another file.

    Attributes:
        location: The file, as the network names it.
        offset: Where in it the numbers begin, bytes.
        length: How many bytes they take; None: to the file's end.
        weight: Whether it is a weight of the main graph, and nothing inside a node.
    """

    location: str
    offset: int
    length: int | None
    weight: bool


@dataclass(frozen=True, slots=True, eq=False)
class OnnxFile:
    """A network in memory, with every file that it may read.

    Attributes:
        content: The ONNX file's bytes.
        external: The bytes of each file that holds some of its weights, by the name that the
            network has for it.
        where: Where it came from, for messages.

    Raises:
        BundleError: The bytes are not an ONNX file, name a file that is not among ``external``, or
            might never come to an end.
    """

    content: bytes = field(repr=False)
    external: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    where: object = None

    def __post_init__(self) -> None:
        for tensor in external_tensors(self.content, where=self.where):
            self._check(tensor)

    def single(self, purpose: str) -> bytes:
        """The bytes of a network that is one file.

        Args:
            purpose: What takes only those, for the message.

        Raises:
            BundleError: Some of its weights lie in other files.
        """
        if self.external:
            raise BundleError(
                f"{purpose} takes networks of one file, and weights of this one lie in others",
                where=self.where,
                remedy="Choose an encoder below 2 GiB: only larger ones are exported so",
            )
        return self.content

    def _check(self, tensor: ExternalTensor) -> None:
        name = tensor.location[:80]
        if tensor.location not in self.external:
            raise BundleError(
                f"the network reads {name!r}, a file that the manifest does not name",
                where=self.where,
                remedy="Export the bundle again: vtloc-export writes the hash of every file",
            )
        size = len(self.external[tensor.location])
        if tensor.offset + (tensor.length or 0) > size:
            raise BundleError(
                f"a weight lies beyond the {size} bytes of {name!r}", where=self.where
            )
        if not tensor.weight:
            raise BundleError(f"a node's own numbers lie in {name!r}", where=self.where)


def external_tensors(content: bytes, *, where: object = None) -> tuple[ExternalTensor, ...]:
    """Every tensor of an ONNX file whose numbers lie elsewhere.

    Looks into nested graphs, functions, attributes, training graphs and sparse tensors as well.

    Args:
        content: The file's bytes.
        where: Where they came from, for messages.

    Raises:
        BundleError: The bytes are not an ONNX file, or a node repeats a part of the network as
            often as the network itself decides, which might be without end.
    """
    if content[4:8] == _ORT_FORMAT:
        raise BundleError("the file is in ONNX Runtime's own format, not in ONNX", where=where)
    found: list[ExternalTensor] = []
    todo: list[tuple[_Kind, int, int, int]] = [("model", 0, len(content), 0)]
    try:
        while todo:
            kind, start, stop, depth = todo.pop()
            if depth > _DEEPEST:
                raise BundleError(
                    f"the network's messages are nested deeper than {_DEEPEST} levels", where=where
                )
            if kind == "tensor":
                found.extend(_external(content, start, stop, weight=depth == 2))
                continue
            children = _CHILDREN[kind]
            for number, wire, begin, end in _fields(content, start, stop):
                if wire != _BYTES:
                    continue
                if (child := children.get(number)) is not None:
                    todo.append((child, begin, end, depth + 1))
                elif kind == "node" and number == _OPERATOR and content[begin:end] in _LOOPS:
                    raise BundleError(
                        f"the network has a {content[begin:end].decode()} node: it might never end",
                        where=where,
                        remedy="Export it without loops; vtloc-export unrolls them",
                    )
    except _WireError as error:
        raise BundleError(
            f"cannot load the network, for it is not an ONNX file: {error}", where=where
        ) from error
    return tuple(found)


class _WireError(Exception):
    """The bytes break protobuf's wire format."""


def _external(content: bytes, start: int, stop: int, *, weight: bool) -> Iterator[ExternalTensor]:
    entries: dict[str, str] = {}
    elsewhere = False
    for number, wire, begin, end in _fields(content, start, stop):
        if number == _DATA_LOCATION and wire == _VARINT:
            elsewhere = elsewhere or begin != 0
        elif number == _EXTERNAL_DATA and wire == _BYTES:
            elsewhere = True
            name, value = _entry(content, begin, end)
            if name in entries:
                raise _WireError(f"a tensor names the {name!r} of its external data twice")
            entries[name] = value
    if elsewhere:
        yield ExternalTensor(
            entries.get("location", ""),
            _whole(entries.get("offset", "0")),
            _whole(entries["length"]) if "length" in entries else None,
            weight,
        )


def _entry(content: bytes, start: int, stop: int) -> tuple[str, str]:
    texts = {1: "", 2: ""}
    for number, wire, begin, end in _fields(content, start, stop):
        if number in texts and wire == _BYTES:
            try:
                texts[number] = content[begin:end].decode("utf-8")
            except UnicodeDecodeError as error:
                raise _WireError("the name of an external file is not UTF-8") from error
    return texts[1], texts[2]


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise _WireError(f"{text[:20]!r} is not a position in an external file")
    return int(text)


def _fields(content: bytes, start: int, stop: int) -> Iterator[tuple[int, int, int, int]]:
    """Field number, wire type, and where its bytes begin and end; of a varint, its value first."""
    at = start
    while at < stop:
        tag = content[at]
        at += 1
        if tag >= 0x80:
            tag, at = _varint(content, at - 1, stop, _LONGEST_TAG)
        number, wire = tag >> 3, tag & 7
        if number == 0:
            raise _WireError("a field has the number 0")
        if wire == _BYTES:
            size, begin = _varint(content, at, stop, _LONGEST_VARINT)
            at = begin + size
            yield number, wire, begin, at
        elif wire == _VARINT:
            value, at = _varint(content, at, stop, _LONGEST_VARINT)
            yield number, wire, value, at
        elif wire == _FIXED64:
            at += 8
        elif wire == _FIXED32:
            at += 4
        else:
            raise _WireError(f"a field has the wire type {wire}")
        if at > stop:
            raise _WireError("a field is longer than what holds it")


def _varint(content: bytes, at: int, stop: int, longest: int) -> tuple[int, int]:
    value = 0
    for index in range(longest):
        if at >= stop:
            raise _WireError("it ends in the middle of a number")
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, at
    raise _WireError("a number takes too many bytes")
