"""Weights stored small and computed in FP32: the precision that ships and runs anywhere.

FP16 weights carry a cast; INT8 weights carry a scale an output, a cast and a product. These are
plain operators on constants, so ONNX Runtime folds them once as it loads the file and runs the
FP32 network from then on. Of a table of embeddings only the rows that are looked up are widened,
after the look-up: the numbers are the same, and opening MiniLM takes half the time.
``DequantizeLinear`` would say the same, but ONNX Runtime takes it as leave to compute in INT8: on
MiniLM that cost 2.4 times the time and half the digits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vtloc_export.errors import ExportError
from vtloc_export.precision.policy import HALF_LIMIT

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto, NodeProto, TensorProto

    from vtloc_runtime.bundle.manifest import NetworkName

HALF_SUFFIX, INT8_SUFFIX, SCALE_SUFFIX = ".half", ".int8", ".scale"
_LEAST_VALUES = 256
"""Smaller weights stay as they are: the operators around them would outweigh the gain."""
_INT8_LIMIT = 127
_KERNEL_SIZE, _KERNEL_ERROR = 64, 0.008
"""Kernels of fewer numbers an output, or that INT8 moves by more relative to their length, become
FP16. Measured on EfficientNet-Lite0: so the features move by 2 to 3 percent, with every larger
kernel in INT8 by 7."""


def compact_graph(model: ModelProto, network: NetworkName) -> ModelProto:
    """A copy of an FP32 graph with its weights stored small.

    Matrices become INT8, with a scale for each output (for embeddings each row). Convolution
    kernels do where that hardly moves them, and become FP16 elsewhere.

    Args:
        model: The graph in FP32.
        network: Which network it is.

    Raises:
        ExportError: A weight is not finite.
    """
    from onnx import ModelProto, TensorProto, numpy_helper

    compact = ModelProto()
    compact.CopyFrom(model)
    by_row, tables = _scaled_by_row(compact), _tables(compact)
    kept: list[TensorProto] = []
    opening: list[NodeProto] = []
    small: set[str] = set()
    for item in compact.graph.initializer:
        weight = np.asarray(numpy_helper.to_array(item))
        if item.data_type != TensorProto.FLOAT or weight.size < _LEAST_VALUES:
            kept.append(item)
            continue
        if not np.isfinite(weight).all():
            raise ExportError("a weight is not finite", where=f"{network}: {item.name}")
        if weight.ndim == 2:
            axes = (1 if item.name in by_row else 0,)
            stored, nodes = _as_int8(item.name, *_rounded(weight, axes))
            if item.name in tables:
                nodes = []
                small.add(item.name)
        elif weight.ndim > 2 and _holds_in_int8(weight):
            stored, nodes = _as_int8(item.name, *_rounded(weight, _within_kernels(weight)))
        elif np.abs(weight).max() < HALF_LIMIT:
            stored, nodes = _as_half(item.name, weight)
        else:
            stored, nodes = [item], []
        kept += stored
        opening += nodes
    nodes = list(opening)
    for node in compact.graph.node:
        nodes += _look_up(node) if node.input and node.input[0] in small else [node]
    del compact.graph.initializer[:]
    compact.graph.initializer.extend(kept)
    del compact.graph.node[:]
    compact.graph.node.extend(nodes)
    return compact


def widened(name: str, arrays: dict[str, NDArray[np.generic]]) -> NDArray[np.float32] | None:
    """A weight in FP32, however it is stored; None where the graph does not have it.

    Args:
        name: The weight's name in the FP32 graph.
        arrays: Every initializer by name, of any shape.

    Returns:
        The weight, float32, in the shape of the FP32 graph.
    """
    if name in arrays:
        return arrays[name].astype(np.float32)
    if (half := arrays.get(name + HALF_SUFFIX)) is not None:
        return half.astype(np.float32)
    whole, scale = arrays.get(name + INT8_SUFFIX), arrays.get(name + SCALE_SUFFIX)
    if whole is None or scale is None:
        return None
    return (whole.astype(np.float32) * scale.astype(np.float32)).astype(np.float32)


def _scaled_by_row(model: ModelProto) -> set[str]:
    """Matrices whose outputs, or whose entries, lie along the rows."""
    rows: set[str] = set()
    for node in model.graph.node:
        flags = {item.name: item.i for item in node.attribute}
        if node.op_type == "Gather" and flags.get("axis", 0) == 0:
            rows.add(node.input[0])
        elif node.op_type == "Gemm" and flags.get("transB", 0):
            rows.add(node.input[1])
    return rows


def _tables(model: ModelProto) -> set[str]:
    """Weights of which every use looks up rows."""
    looked_up: set[str] = set()
    used = {output.name for output in model.graph.output}
    for node in model.graph.node:
        rows = node.op_type == "Gather" and not any(item.i for item in node.attribute)
        looked_up.update(node.input[:1] if rows else ())
        used.update(node.input[1:] if rows else node.input)
    return looked_up - used


def _look_up(node: NodeProto) -> list[NodeProto]:
    """The nodes in place of a look-up in a table that is stored in INT8, with a scale a row."""
    from onnx import TensorProto, helper

    (table, rows), (result,), name = node.input, node.output, node.name
    stored, wide, scale = f"{result}.int8", f"{result}.widened", f"{result}.scale"
    return [
        helper.make_node("Gather", [table + INT8_SUFFIX, rows], [stored], name=name),
        helper.make_node("Gather", [table + SCALE_SUFFIX, rows], [scale], name=f"{name}/scales"),
        helper.make_node("Cast", [stored], [wide], name=f"{name}/widen", to=TensorProto.FLOAT),
        helper.make_node("Mul", [wide, scale], [result], name=f"{name}/scale"),
    ]


def _as_half(name: str, weight: NDArray[np.float32]) -> tuple[list[TensorProto], list[NodeProto]]:
    from onnx import TensorProto, helper, numpy_helper

    stored = name + HALF_SUFFIX
    return [numpy_helper.from_array(weight.astype(np.float16), stored)], [
        helper.make_node("Cast", [stored], [name], name=f"{name}/widen", to=TensorProto.FLOAT)
    ]


def _within_kernels(weight: NDArray[np.float32]) -> tuple[int, ...]:
    """Every axis but that of the outputs."""
    return tuple(range(1, weight.ndim))


def _holds_in_int8(kernels: NDArray[np.float32]) -> bool:
    if kernels[0].size < _KERNEL_SIZE:
        return False
    whole, scale = _rounded(kernels, _within_kernels(kernels))
    moved = np.linalg.norm(whole * scale - kernels)
    return bool(moved <= _KERNEL_ERROR * np.linalg.norm(kernels))


def _rounded(
    weight: NDArray[np.float32], axes: tuple[int, ...]
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """A weight in INT8, and the scales that its entries along some axes share."""
    # Symmetric: zero stays zero, and the largest value of each output is hit exactly.
    largest = np.abs(weight).max(axis=axes, keepdims=True)
    scale = np.where(largest > 0, largest / _INT8_LIMIT, 1.0).astype(np.float32)
    return np.clip(np.rint(weight / scale), -_INT8_LIMIT, _INT8_LIMIT).astype(np.int8), scale


def _as_int8(
    name: str, whole: NDArray[np.int8], scale: NDArray[np.float32]
) -> tuple[list[TensorProto], list[NodeProto]]:
    from onnx import TensorProto, helper, numpy_helper

    stored, factor, wide = name + INT8_SUFFIX, name + SCALE_SUFFIX, f"{name}.widened"
    return [numpy_helper.from_array(whole, stored), numpy_helper.from_array(scale, factor)], [
        helper.make_node("Cast", [stored], [wide], name=f"{name}/widen", to=TensorProto.FLOAT),
        helper.make_node("Mul", [wide, factor], [name], name=f"{name}/scale"),
    ]
