"""INT8 without recorded ranges: activations are rounded to the range that they have as they run.

For ONNX Runtime on a CPU, and for matrix products with constant weights, which are most of a
transformer. Weights are those of ``qdq``, a scale a channel; an activation gets one scale and zero
point for the whole batch, so a frame's features depend on the frames beside it. What has
no weights, such as attention's products, and convolutions stay in FP32: ONNX Runtime has no fast
step for them in this form. Large look-up tables are stored in INT8, and only the rows that are
looked up are widened.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import numpy as np

from vtloc_calibration.quantize.onnx_graph import FLOAT, element_types, unused_names
from vtloc_calibration.quantize.tables import SmallTables, table_lookups
from vtloc_calibration.quantize.weights import rounded_weights, weight_axis

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto


def dynamic_candidates(model: ModelProto) -> tuple[str, ...]:
    """Names of the nodes that can be lowered: products with constant weights, and look-ups.

    Args:
        model: The graph in FP32.
    """
    weights = {one.name: one for one in model.graph.initializer if one.data_type == FLOAT}
    types = element_types(model)
    served = set(table_lookups(model))
    for node in model.graph.node:
        if node.op_type not in {"MatMul", "Gemm"} or node.input[0] in weights:
            continue
        weight = weights.get(node.input[1])
        if weight is None or len(weight.dims) != 2 or types.get(node.input[0], FLOAT) != FLOAT:
            continue
        if _is_plain(node):
            served.add(node.name)
    return tuple(node.name for node in model.graph.node if node.name in served)


def _is_plain(node: NodeProto) -> bool:
    """Whether a product is its factors', neither scaled nor with its first factor turned."""
    from onnx import helper

    plain = {"transA": 0, "alpha": 1.0, "beta": 1.0}
    return all(
        helper.get_attribute_value(one) == plain[one.name]
        for one in node.attribute
        if one.name in plain
    )


class DynamicWriter:
    """Writes a graph with some of its products in dynamic INT8; each weight is rounded once.

    Args:
        model: The graph in FP32; it is left as it is.
    """

    def __init__(self, model: ModelProto) -> None:
        self._model = model
        self._constants = {one.name: one for one in model.graph.initializer}
        self._candidates = frozenset(dynamic_candidates(model))
        self._names = unused_names(model)
        self._tables = SmallTables(self._constants, self._names)
        self._weights: dict[tuple[str, int], tuple[TensorProto, TensorProto]] = {}
        for node in model.graph.node:
            if node.name not in self._candidates:
                continue
            if node.op_type == "Gather":
                self._tables.add(node.input[0])
            else:
                self._weight(node)
        self._tensors = [*self._tables.tensors(), *chain.from_iterable(self._weights.values())]

    def write(self, nodes: Collection[str]) -> ModelProto:
        """The graph with some nodes in INT8.

        Args:
            nodes: Names of nodes; those that are no candidates stay as they are.
        """
        from onnx import GraphProto, ModelProto

        source = self._model.graph
        chosen = self._candidates & set(nodes)
        # Each of the tensors above has taken a name.
        names = islice(unused_names(self._model), len(self._tensors), None)
        kept: list[NodeProto] = []
        activations: dict[str, tuple[str, str, str]] = {}
        for node in source.node:
            if node.name not in chosen:
                kept.append(node)
                continue
            if node.op_type == "Gather":
                kept.extend(self._tables.look_up(node, names))
                continue
            name = node.input[0]
            if name not in activations:
                activations[name] = (next(names), next(names), next(names))
                kept.append(_node("DynamicQuantizeLinear", [name], activations[name], names))
            kept.extend(self._product(node, activations[name], names))
        used = {name for node in kept for name in node.input}
        used.update(value.name for value in source.output)
        graph = GraphProto(
            name=source.name,
            node=kept,
            input=source.input,
            output=source.output,
            value_info=source.value_info,
            initializer=[one for one in (*source.initializer, *self._tensors) if one.name in used],
        )
        return ModelProto(
            ir_version=self._model.ir_version, opset_import=self._model.opset_import, graph=graph
        )

    def _weight(self, node: NodeProto) -> tuple[TensorProto, TensorProto]:
        """A product's weight in INT8, ``[inputs, outputs]``, and its scales."""
        from onnx import numpy_helper

        name, axis = node.input[1], weight_axis(node, 2)
        if (name, axis) not in self._weights:
            numbers, scales = rounded_weights(numpy_helper.to_array(self._constants[name]), axis)
            turned = numbers if axis == 1 else np.ascontiguousarray(numbers.T)
            self._weights[name, axis] = (
                numpy_helper.from_array(turned, next(self._names)),
                numpy_helper.from_array(scales.astype(np.float32), next(self._names)),
            )
        return self._weights[name, axis]

    def _product(
        self, node: NodeProto, activation: tuple[str, str, str], names: Iterator[str]
    ) -> Iterator[NodeProto]:
        """A product in INT8; ONNX Runtime joins these nodes into one step."""
        numbers, scales = (tensor.name for tensor in self._weight(node))
        small, step, zero = activation
        whole, wide, factor = (next(names) for _ in range(3))
        bias = node.input[2] if node.op_type == "Gemm" and len(node.input) == 3 else ""
        result = next(names) if bias else node.output[0]
        yield _node("MatMulInteger", [small, numbers, zero], [whole], names)
        yield _node("Cast", [whole], [wide], names, to=FLOAT)
        yield _node("Mul", [step, scales], [factor], names)
        yield _node("Mul", [wide, factor], [result], names)
        if bias:
            yield _node("Add", [result, bias], [node.output[0]], names)


def _node(
    kind: str, inputs: Sequence[str], outputs: Sequence[str], names: Iterator[str], **to: Any
) -> NodeProto:
    from onnx import helper

    return helper.make_node(kind, inputs, outputs, name=next(names), **to)
