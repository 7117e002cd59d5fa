"""Half precision by rounding, module by module: what FP16 does to a graph that stays in FP32.

Every floating result of the chosen nodes, and every weight they read, is rounded to half
precision and back. Sums inside a node keep FP32's range, as tensor cores do; results beyond half
precision's largest number become infinite, as they would on a GPU. ONNX Runtime on a CPU hides
both when it is given a graph in FP16. The inner steps of norms and means stay exact, as they do in
an export.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from vtloc_calibration.quantize.onnx_graph import (
    FLOAT,
    FLOAT16,
    PRODUCTS,
    element_types,
    unused_names,
)

if TYPE_CHECKING:
    from onnx import ModelProto

_ISLAND = frozenset(
    {
        "Pow", "ReduceSum", "ReduceMean", "ReduceSumSquare", "ReduceL2", "Sqrt", "Reciprocal",
        "Clip", "Max", "Sin", "Cos",
    }
)  # fmt: skip
"""The inner steps of norms and means, which an export in FP16 computes in FP32."""

_LEAVING = _ISLAND | {"Mul", "Div", "Sub"}
"""What reads such a step on the island still; its own result is the one that is rounded."""


def round_to_half(model: ModelProto, nodes: Collection[str]) -> ModelProto:
    """Round the results and weights of some nodes to half precision.

    Args:
        model: A graph in FP32; it is left as it is.
        nodes: Names of the nodes.

    Returns:
        A graph in FP32 whose numbers are those of half precision where the nodes compute.
    """
    from onnx import ModelProto, helper, numpy_helper

    rounded = ModelProto()
    rounded.CopyFrom(model)
    chosen, types, names = set(nodes), element_types(model), unused_names(model)
    constants = {
        initializer.name: initializer
        for initializer in model.graph.initializer
        if initializer.data_type == FLOAT
    }
    copies: dict[str, str] = {}
    inner = _island_tensors(model)
    kept = []
    for node in rounded.graph.node:
        kept.append(node)
        if node.name not in chosen or inner.issuperset(node.output):
            continue
        for index, name in enumerate(node.input):
            if name in constants and name not in copies:
                copies[name] = next(names)
                weight = numpy_helper.to_array(constants[name])
                with np.errstate(over="ignore"):
                    half = weight.astype(np.float16).astype(np.float32)
                rounded.graph.initializer.append(numpy_helper.from_array(half, copies[name]))
            node.input[index] = copies.get(name, name)
        for index, name in enumerate(node.output):
            if types.get(name) != FLOAT:
                continue
            exact, half_name = next(names), next(names)
            node.output[index] = exact
            kept.append(
                helper.make_node("Cast", [exact], [half_name], name=next(names), to=FLOAT16)
            )
            kept.append(helper.make_node("Cast", [half_name], [name], name=next(names), to=FLOAT))
    del rounded.graph.node[:]
    rounded.graph.node.extend(kept)
    return rounded


def _island_tensors(model: ModelProto) -> set[str]:
    """Tensors that never leave an island: a graph in half precision has them in FP32."""
    readers: dict[str, list[str]] = {value.name: ["output"] for value in model.graph.output}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node.op_type)
    found: set[str] = set()
    for node in model.graph.node:
        for name in node.output:
            read_by = set(readers.get(name, ()))
            between = node.op_type in _ISLAND and read_by <= _LEAVING
            entering = node.op_type not in PRODUCTS and read_by <= _ISLAND - {"Clip", "Max"}
            if read_by and (between or entering):
                found.add(name)
    return found
