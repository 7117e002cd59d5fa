"""Look-up tables in INT8, such as embeddings of words: a scale a row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
        names: Unused names, for the tables.
    """

    def __init__(self, constants: Mapping[str, TensorProto], names: Iterator[str]) -> None:
        self._constants = constants
        self._names = names
        self._known: dict[str, tuple[TensorProto, TensorProto]] = {}

    def add(self, table: str) -> tuple[TensorProto, TensorProto]:
        """A table in INT8 ``[rows, columns]``, and its scales ``[rows, 1]``; each is made once."""
        from onnx import numpy_helper

        if table not in self._known:
            wide = numpy_helper.to_array(self._constants[table])
            numbers, scales = rounded_weights(wide, 0)
            self._known[table] = (
                numpy_helper.from_array(numbers, next(self._names)),
                numpy_helper.from_array(scales[:, None].astype(wide.dtype), next(self._names)),
            )
        return self._known[table]

    def look_up(self, node: NodeProto, names: Iterator[str]) -> Iterator[NodeProto]:
        """The nodes in place of a look-up.

        Args:
            node: The look-up.
            names: Unused names, for the nodes.
        """
        from onnx import helper

        table, rows = node.input[:2]
        numbers, scales = (tensor.name for tensor in self.add(table))
        whole, wide, factor = (next(names) for _ in range(3))
        kind = self._constants[table].data_type
        yield helper.make_node("Gather", [numbers, rows], [whole], name=next(names))
        yield helper.make_node("Cast", [whole], [wide], name=next(names), to=kind)
        yield helper.make_node("Gather", [scales, rows], [factor], name=next(names))
        yield helper.make_node("Mul", [wide, factor], node.output[:1], name=next(names))

    def tensors(self) -> Iterator[TensorProto]:
        """Every table that was added, and its scales."""
        for numbers, scales in self._known.values():
            yield from (numbers, scales)
