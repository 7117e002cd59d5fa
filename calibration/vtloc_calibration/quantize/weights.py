"""Weights in INT8: a scale for each output, zero at zero."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from vtloc_calibration.quantize.histograms import STEPS

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import NodeProto


def weight_axis(node: NodeProto, rank: int) -> int:
    """The output axis of a weight: the axis that has one scale for each entry.

    Args:
        node: A convolution or product.
        rank: How many axes the weight has.
    """
    if node.op_type == "Conv":
        return 0
    if node.op_type == "Gemm":
        return (
            0
            if any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
            else 1
        )
    return rank - 1


def rounded_weights(
    weight: NDArray[Any], axis: int
) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """Quantize a weight to INT8 with one scale for each entry of an axis.

    Args:
        weight: Floating, any shape.
        axis: The axis that has scales.

    Returns:
        The numbers, int8 of the same shape, and their scales, float64 ``[length of the axis]``.
    """
    wide = weight.astype(np.float64)
    others = tuple(index for index in range(wide.ndim) if index != axis)
    largest = np.abs(wide).max(axis=others, keepdims=True)
    scales = np.where(largest > 0, largest / STEPS, 1.0)
    numbers = np.clip(np.rint(wide / scales), -STEPS, STEPS).astype(np.int8)
    return numbers, scales.reshape(-1)
