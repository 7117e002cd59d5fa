"""Look-up tables in INT8, such as embeddings of words: a scale a row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from vtloc_calibration.quantize.onnx_graph import FLOAT, FLOAT16
from vtloc_calibration.quantize.weights import rounded_weights

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

MINIMUM_TABLE = 1 << 16
"""Look-up tables with fewer numbers stay as they are: there is nothing to save."""


def table_lookups(model: ModelProto) -> tuple[str, ...]:
    """Names of the nodes that look up rows of large tables.

    Args:
        model: The graph.
    """
    constants = {initializer.name: initializer for initializer in model.graph.initializer}
    return tuple(
        node.name
        for node in model.graph.node
        if node.op_type == "Gather"
        and not any(one.name == "axis" and one.i for one in node.attribute)
        and node.input[0] in constants
        and _is_table(constants[node.input[0]])
    )


def _is_table(constant: TensorProto) -> bool:
    return (
        len(constant.dims) == 2
        and constant.data_type in {FLOAT, FLOAT16}
        and int(np.prod(constant.dims)) >= MINIMUM_TABLE
    )


class SmallTables:
    """Tables in INT8 of which only the rows that are looked up are widened.

    ONNX Runtime widens a whole table in every run where it is asked to widen before the look-up,
    which took longer than the rest of a text network.

    Args:
        constants: The graph's constants by name.
        names: Unused names.
    """

    def __init__(self, constants: Mapping[str, TensorProto], names: Iterator[str]) -> None:
        self._constants = constants
        self._names = names
        self._known: dict[str, tuple[TensorProto, TensorProto]] = {}

    def look_up(self, node: NodeProto) -> Iterator[NodeProto]:
        """The nodes in place of a look-up."""
        from onnx import helper, numpy_helper

        table = node.input[0]
        constant = self._constants[table]
        if table not in self._known:
            wide_table = numpy_helper.to_array(constant)
            numbers, scales = rounded_weights(wide_table, 0)
            self._known[table] = (
                numpy_helper.from_array(numbers, next(self._names)),
                numpy_helper.from_array(
                    scales[:, None].astype(wide_table.dtype), next(self._names)
                ),
            )
        numbers_name, scales_name = (tensor.name for tensor in self._known[table])
        whole, wide, factor = (next(self._names) for _ in range(3))
        yield self._node("Gather", [numbers_name, node.input[1]], whole)
        kind = constant.data_type
        yield helper.make_node("Cast", [whole], [wide], name=next(self._names), to=kind)
        yield self._node("Gather", [scales_name, node.input[1]], factor)
        yield self._node("Mul", [wide, factor], node.output[0])

    def tensors(self) -> Iterator[TensorProto]:
        """Every table that was looked up in, and its scales."""
        for numbers, scales in self._known.values():
            yield from (numbers, scales)

    def _node(self, kind: str, inputs: Sequence[str], output: str) -> NodeProto:
        from onnx import helper

        return helper.make_node(kind, inputs, [output], name=next(self._names))
