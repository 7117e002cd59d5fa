"""ONNX files whose weights may lie elsewhere, read before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper, numpy_helper

from tests.fuzz.mutation import mutate_bytes
from tests.fuzz.target import Input, Target
from vtloc_runtime.bundle.onnx_file import OnnxFile, external_tensors
from vtloc_runtime.networks.onnxruntime_backend import OnnxRuntimeNetwork

_SUFFIX = ".onnx"
_VALUE = helper.make_tensor_value_info
_LOCATIONS = (
    "own.bin",
    "/etc/passwd",
    "../../../etc/passwd",
    "*/_ORT_MEM_ADDR_/*",
    "",
    "a/../own.bin",
)  # fmt: skip
_POSITIONS = (0, 1, 4, 2**31, 2**63, -1, "x", "0x10", "١")
_OPSETS = [helper.make_opsetid("", 18)]


def _external(location: str, offset: Any = 0, length: Any = 8) -> TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2])
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in (("location", location), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(text))
    return tensor


def _inside() -> TensorProto:
    return numpy_helper.from_array(np.ones(2, np.float32), "w")


def _model(weight: TensorProto, *, place: str = "weight") -> bytes:
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    weights = [weight] if place == "weight" else []
    functions = []
    if place == "constant":
        nodes.insert(0, helper.make_node("Constant", [], ["w"], value=weight))
    elif place == "branch":
        constant = helper.make_node("Constant", [], ["w"], value=weight)
        branch = helper.make_graph([constant], "b", [], [_VALUE("w", TensorProto.FLOAT, [2])])
        nodes.insert(
            0, helper.make_node("If", ["flag"], ["w"], then_branch=branch, else_branch=branch)
        )
        weights = [numpy_helper.from_array(np.array(True), "flag")]
    elif place == "function":
        weights = [_inside()]
        constant = helper.make_node("Constant", [], ["c"], value=weight)
        functions = [helper.make_function("own", "F", [], ["c"], [constant], _OPSETS)]
    graph = helper.make_graph(
        nodes,
        "graph",
        [_VALUE("x", TensorProto.FLOAT, ["batch", 2])],
        [_VALUE("y", TensorProto.FLOAT, ["batch", 2])],
        weights,
    )
    if place == "sparse":
        graph.sparse_initializer.append(onnx.SparseTensorProto(values=weight, dims=[2]))
        graph.initializer.append(_inside())
    made = helper.make_model(graph, opset_imports=_OPSETS, ir_version=9, functions=functions)
    return made.SerializeToString()


_PLACES = ("weight", "constant", "branch", "function", "sparse")


class OnnxFiles(Target):
    """Whatever protobuf's own reader finds must be found, or the file refused."""

    name = "onnx"
    count = 300

    def good(self) -> Sequence[Input]:
        return (Input(_model(_inside()), _SUFFIX),)

    def known(self) -> Mapping[str, Input]:
        return {
            f"{place} in {location!r}": Input(_model(_external(location), place=place), _SUFFIX)
            for place in _PLACES
            for location in _LOCATIONS
        }

    def make(self, chance: Random) -> Input:
        weight = _external(
            chance.choice(_LOCATIONS), chance.choice(_POSITIONS), chance.choice(_POSITIONS)
        )
        seed = _model(weight if chance.random() < 0.8 else _inside(), place=chance.choice(_PLACES))
        if chance.random() < 0.2:
            return Input(seed, _SUFFIX)
        marks = (b"location", b"offset", b"length", b"own.bin", b"graph", b"Constant", b"w")
        others = [_model(_external("own.bin"), place=place) for place in _PLACES]
        return Input(mutate_bytes(chance, seed, marks=marks, others=others), _SUFFIX)

    def run(self, given: Input) -> None:
        found = {tensor.location for tensor in external_tensors(given.content)}
        try:
            model = onnx.ModelProto.FromString(given.content)
        except DecodeError:
            model = onnx.ModelProto()
        named = set(_locations(model))
        assert named <= found, f"{named - found} would be read"
        file = OnnxFile(given.content, {"own.bin": bytes(64)})
        if not found:
            OnnxRuntimeNetwork("visual", file).close()


def _locations(message: Any) -> Iterator[str]:
    """Every file that some tensor in a message names, by protobuf's own reflection."""
    if isinstance(message, TensorProto):
        if message.external_data or message.data_location == TensorProto.EXTERNAL:
            yield next((one.value for one in message.external_data if one.key == "location"), "")
        return
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for part in value if isinstance(value, Sequence) or hasattr(value, "add") else (value,):
            yield from _locations(part)
