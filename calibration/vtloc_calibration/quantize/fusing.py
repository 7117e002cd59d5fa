"""Placement of Q/DQ pairs so that ONNX Runtime fuses convolutions into INT8 ones.

ONNX Runtime joins a convolution with the pairs on both its sides into one step in INT8. A result
that anything reads unrounded, or a cut at zero between it and its rounding that does not vanish in
the rounding, leaves the convolution in FP32.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from vtloc_calibration.quantize.onnx_graph import PRODUCTS, products

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

_CUTS = frozenset({"Relu", "Clip"})

Pair = Callable[[str], "tuple[NodeProto, NodeProto] | None"]
"""Makes the pair that rounds a tensor; the second node's output is what is read instead."""


def rounded_results(model: ModelProto, nodes: Collection[str]) -> tuple[str, ...]:
    """The tensors to round after convolutions: their results, behind a clip or ReLU, and sums.

    Args:
        model: The graph.
        nodes: Names of nodes; those that are not convolutions are left out.
    """
    readers = Counter(name for node in model.graph.node for name in node.input)
    cuts = {node.input[0]: node for node in model.graph.node if node.op_type in _CUTS}
    outputs = {value.name for value in model.graph.output}
    found: dict[str, None] = {}
    for node in model.graph.node:
        if node.op_type == "Add" and found.keys() >= set(node.input):
            found |= dict.fromkeys(set(node.output) - outputs)
        if node.op_type != "Conv" or node.name not in nodes:
            continue
        name = node.output[0]
        if name in cuts and readers[name] == 1 and name not in outputs:
            name = cuts[name].output[0]
        if name not in outputs:
            found[name] = None
    return tuple(found)


def round_tensors(model: ModelProto, nodes: Collection[str], pair: Pair) -> None:
    """Round what products read and what convolutions give, in place.

    Such a result is read rounded by everything but the products that are spared; anything else
    by the chosen products alone.

    Args:
        model: The graph.
        nodes: Names of the products to run in INT8.
        pair: Makes the nodes that round a tensor.
    """
    constants = {initializer.name for initializer in model.graph.initializer}
    chosen = [node for node in products(model) if node.name in nodes]
    results = set(rounded_results(model, nodes))
    wanted = results | {name for node in chosen for name in node.input[:2] if name not in constants}
    rounded: dict[str, str] = {}
    kept: list[NodeProto] = []

    def follow(names: Collection[str]) -> None:
        for name in names:
            made = pair(name) if name in wanted else None
            if made is not None:
                kept.extend(made)
                rounded[name] = made[1].output[0]

    follow([value.name for value in model.graph.input])
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            served = node.name in nodes or (name in results and node.op_type not in PRODUCTS)
            if served and name in rounded:
                node.input[index] = rounded[name]
        kept.append(node)
        follow(node.output)
    del model.graph.node[:]
    model.graph.node.extend(kept)
