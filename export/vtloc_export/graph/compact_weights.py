"""Weights stored small and computed in FP32: the precision that ships and runs anywhere.

FP16 weights carry a cast; INT8 weights carry a scale an output, a cast and a product. These are
plain operators on constants, so ONNX Runtime folds them once as it loads the file and runs the
FP32 network from then on. ``DequantizeLinear`` would say the same, but ONNX Runtime takes it as
leave to compute in INT8: on MiniLM that cost 2.4 times the time and half the digits.
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
    by_row = _scaled_by_row(compact)
    kept: list[TensorProto] = []
    opening: list[NodeProto] = []
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
        elif weight.ndim > 2 and _holds_in_int8(weight):
            stored, nodes = _as_int8(item.name, *_rounded(weight, _within_kernels(weight)))
        elif np.abs(weight).max() < HALF_LIMIT:
            stored, nodes = _as_half(item.name, weight)
        else:
            stored, nodes = [item], []
        kept += stored
        opening += nodes
    nodes = [*opening, *compact.graph.node]
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
