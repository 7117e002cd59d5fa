"""Half precision by rounding, module by module: what FP16 does to a graph that stays in FP32.

Every floating result of the chosen nodes, and every weight they read, is rounded to half
precision and back. Sums inside a node keep FP32's range, as tensor cores do; results beyond half
precision's largest number become infinite, as they would on a GPU. ONNX Runtime on a CPU hides
both when it is given a graph in FP16.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from vtloc_calibration.graphs import FLOAT, FLOAT16, element_types, unused_names

if TYPE_CHECKING:
    from onnx import ModelProto


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
    constants = {one.name: one for one in model.graph.initializer if one.data_type == FLOAT}
    copies: dict[str, str] = {}
    kept = []
    for node in rounded.graph.node:
        kept.append(node)
        if node.name not in chosen:
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
