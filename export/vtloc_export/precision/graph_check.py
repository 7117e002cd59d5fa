"""Check a half-precision graph against its policy, node by node."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vtloc_export.errors import ExportError
from vtloc_export.precision.policy import stays_single

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

    from vtloc_export.precision.policy import PrecisionPolicy

_FLOATING = {"FLOAT", "FLOAT16", "DOUBLE", "BFLOAT16"}
LEAST_HALF = 0.5
"""Share of an FP16 network's weights that must be FP16; islands of FP32 are small."""

_LARGEST_CONSTANT = 1
"""FP32 constants of one number scale and bound an island; anything larger is a weight."""

NEUTRAL = frozenset({
    "Abs", "Add", "And", "ArgMax", "AveragePool", "BatchNormalization", "Cast", "Ceil", "Clip",
    "Concat", "Constant", "ConstantOfShape", "CumSum", "Div", "Elu", "Equal", "Erf", "Exp",
    "Expand", "Flatten", "Floor", "Gather", "GatherElements", "GatherND", "GlobalAveragePool",
    "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Less",
    "LessOrEqual", "Log", "Max", "MaxPool", "Min", "Mod", "Mul", "Neg", "Not", "Or", "Pad", "Pow",
    "PRelu", "Range", "ReduceMax", "ReduceMin", "Reshape", "Resize", "Round", "Shape", "Sigmoid",
    "Sign", "Slice", "Split", "Squeeze", "Sub", "Tanh", "Tile", "TopK", "Transpose", "Trilu",
    "Unsqueeze", "Where",
})  # fmt: skip
"""Operators that compute in whatever they are given, half or single, without harm."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A place where a graph and its policy disagree.

    Attributes:
        where: The node or the weight.
        what: What is wrong with it.
    """

    where: str
    what: str


def check_half_precision(model: ModelProto, policy: PrecisionPolicy) -> None:
    """Refuse a graph that is called FP16 and is not, or that lost an island.

    Args:
        model: The exported graph; every value's type is written in it.
        policy: What must be half and what single.

    Raises:
        ExportError: The graph breaks the policy; the first places are named.
    """
    found = list(violations(model, policy))
    if found:
        named = "; ".join(f"{item.where}: {item.what}" for item in found[:3])
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        raise ExportError(
            f"the FP16 graph breaks its precision policy: {named}{more}",
            where=f"the {policy.network} network",
            remedy="Export it in fp32, or extend the policy in vtloc_export.precision.policy",
        )


def half_share(model: ModelProto) -> float:
    """The share of the numbers in a graph's weight matrices that are FP16; 1 where it has none."""
    from math import prod

    from onnx import TensorProto

    counts = {TensorProto.FLOAT16: 0, TensorProto.FLOAT: 0}
    for item in model.graph.initializer:
        if item.data_type in counts and len(item.dims) > 1:
            counts[item.data_type] += prod(item.dims)
    total = sum(counts.values())
    return counts[TensorProto.FLOAT16] / total if total else 1.0


def violations(model: ModelProto, policy: PrecisionPolicy) -> Iterator[Violation]:
    """Every place where a graph and its policy disagree."""
    types = value_types(model.graph)
    spared = _spared_values(model.graph, types, policy)
    for node in model.graph.node:
        if spared.isdisjoint(node.output):
            yield from _node_violations(node, types, policy)
    yield from _weight_violations(model.graph, policy)


def value_types(graph: GraphProto) -> dict[str, str]:
    """The type of every value whose type the graph states, by the names of ONNX."""
    from onnx import TensorProto

    named = TensorProto.DataType.Name
    types = {
        value.name: named(value.type.tensor_type.elem_type)
        for value in (*graph.input, *graph.value_info, *graph.output)
    }
    types.update({item.name: named(item.data_type) for item in graph.initializer})
    return types


def _spared_values(graph: GraphProto, types: dict[str, str], policy: PrecisionPolicy) -> set[str]:
    """What spared modules compute in FP32, from their own parameters on."""
    found = {item.name for item in graph.initializer if policy.spares(item.name)}
    for node in graph.node:
        if not found.isdisjoint(node.input):
            found.update(name for name in node.output if types.get(name) == "FLOAT")
    return found


def _node_violations(
    node: NodeProto, types: dict[str, str], policy: PrecisionPolicy
) -> Iterator[Violation]:
    label = f"{node.op_type} {node.name or node.output[0]}"
    for output in node.output:
        kind = types.get(output)
        if output and kind is None:
            yield Violation(label, f"the type of {output} is unknown")
            return
        if kind not in _FLOATING:
            continue
        if kind not in {"FLOAT", "FLOAT16"}:
            yield Violation(label, f"computes in {kind}")
        elif node.op_type in policy.half and kind != "FLOAT16":
            yield Violation(label, "computes in FP32, the policy says FP16")
        elif node.op_type in policy.single and kind != "FLOAT":
            yield Violation(label, "computes in FP16, the policy makes it an FP32 island")
        elif node.op_type not in policy.half | policy.single | NEUTRAL:
            yield Violation(label, "is an operator that the policy does not know")


def _weight_violations(graph: GraphProto, policy: PrecisionPolicy) -> Iterator[Violation]:
    from onnx import TensorProto

    for item in graph.initializer:
        size = 1
        for length in item.dims:
            size *= length
        single = item.data_type in {TensorProto.FLOAT, TensorProto.DOUBLE}
        if single and size > _LARGEST_CONSTANT and not stays_single(item.name, policy):
            yield Violation(f"weight {item.name}", "is stored in FP32")
