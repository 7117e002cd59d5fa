"""Explicit INT8: pairs of QuantizeLinear and DequantizeLinear around convolutions and products.

Weights are stored as INT8, one scale a channel; activations are rounded to INT8 on their way in,
one scale a tensor; both symmetric, zero at zero, as TensorRT wants it. Biases, and everything
that is neither a convolution nor a product, stay in the graph's own precision. Embedding tables
are stored as INT8 too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vtloc_calibration.graphs import FLOAT, FLOAT16, element_types, products, unused_names
from vtloc_calibration.ranges import STEPS, Histogram, RangeMethod, collect

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto, NodeProto, TensorProto

    from vtloc_runtime.networks.contract import Array

MINIMUM_TABLE = 1 << 16
"""Look-up tables with fewer numbers stay as they are: there is nothing to save."""

_SMALLEST_SCALE = {FLOAT: 1e-30, FLOAT16: 6e-8}


@dataclass(frozen=True, slots=True)
class ActivationRanges:
    """Where each activation is clipped.

    Attributes:
        thresholds: Largest absolute value that INT8 tells apart, by tensor.
        method: How they were chosen.
    """

    thresholds: Mapping[str, float]
    method: RangeMethod

    @classmethod
    def of(cls, histograms: Mapping[str, Histogram], method: RangeMethod) -> ActivationRanges:
        """Thresholds of counted activations."""
        found = {name: one.threshold(method) for name, one in histograms.items()}
        return cls(found, method)


def count_activations(
    model: ModelProto, calls: Iterable[Mapping[str, Array]]
) -> dict[str, Histogram]:
    """Count the values of every activation that INT8 would round, in one run over the samples.

    Args:
        model: The graph in FP32 or FP16.
        calls: Inputs by name.

    Raises:
        CalibrationError: There is no sample, or an activation is not finite.
    """
    constants = {one.name for one in model.graph.initializer}
    names = dict.fromkeys(
        name for node in products(model) for name in node.input[:2] if name not in constants
    )
    return collect(model, calls, tuple(names))


def candidates(model: ModelProto) -> tuple[str, ...]:
    """Names of the nodes that INT8 can serve: products, and look-ups in large tables."""
    served = {node.name for node in products(model)}
    constants = {one.name: one for one in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Gather" and node.input[0] in constants:
            axis = next((one.i for one in node.attribute if one.name == "axis"), 0)
            if axis == 0 and _is_table(constants[node.input[0]]):
                served.add(node.name)
    return tuple(node.name for node in model.graph.node if node.name in served)


def _is_table(constant: TensorProto) -> bool:
    return (
        len(constant.dims) == 2
        and constant.data_type in {FLOAT, FLOAT16}
        and int(np.prod(constant.dims)) >= MINIMUM_TABLE
    )


def quantize(
    model: ModelProto, ranges: ActivationRanges, *, nodes: Collection[str] | None = None
) -> ModelProto:
    """Write INT8 into a graph.

    Args:
        model: The graph in FP32 or FP16, opset 19 to 20; it is left as it is.
        ranges: Where activations are clipped.
        nodes: Names of the candidates to run in INT8; None takes all of them.

    Returns:
        The graph with QuantizeLinear and DequantizeLinear pairs.
    """
    from onnx import ModelProto

    written = ModelProto()
    written.CopyFrom(model)
    writer = _Writer(written, ranges)
    chosen = set(candidates(model))
    if nodes is not None:
        chosen &= set(nodes)
    kept = []
    for node in written.graph.node:
        if node.name not in chosen:
            kept.append(node)
        elif node.op_type == "Gather":
            kept.extend([*writer.table(node), node])
        else:
            kept.extend([*writer.around(node), node])
    del written.graph.node[:]
    written.graph.node.extend(kept)
    writer.finish()
    return written


class _Writer:
    """Adds pairs to one graph; every tensor is rounded once, however many nodes read it."""

    def __init__(self, model: ModelProto, ranges: ActivationRanges) -> None:
        self._graph = model.graph
        self._types = element_types(model)
        self._constants = {one.name: one for one in model.graph.initializer}
        self._ranges = ranges
        self._names = unused_names(model)
        self._rounded: dict[tuple[str, int], str] = {}

    def around(self, node: NodeProto) -> Iterator[NodeProto]:
        """Round the two factors of a product; what must stand before it is given."""
        for index, name in enumerate(node.input[:2]):
            constant = self._constants.get(name)
            if constant is not None:
                key = (name, weight_axis(node, len(constant.dims)))
                if key not in self._rounded:
                    stored, widen = self._weight(constant, key[1])
                    yield widen
                    self._rounded[key] = stored
            else:
                key = (name, -1)
                if key not in self._rounded:
                    if self._ranges.thresholds.get(name, 0.0) <= 0:
                        # Only zeros were ever seen, so there is no scale to round by.
                        continue
                    narrow, widen = self._activation(name)
                    yield from (narrow, widen)
                    self._rounded[key] = widen.output[0]
            node.input[index] = self._rounded[key]

    def table(self, node: NodeProto) -> Iterator[NodeProto]:
        """Store the table of a look-up as INT8, a scale a row; gives what must stand before."""
        # Widened before the look-up, for TensorRT takes INT8 constants nowhere else.
        key = (node.input[0], 0)
        if key not in self._rounded:
            self._rounded[key], widen = self._weight(self._constants[node.input[0]], 0)
            yield widen
        node.input[0] = self._rounded[key]

    def finish(self) -> None:
        """Drop the wide weights that nothing reads any more."""
        used = {name for node in self._graph.node for name in node.input}
        used.update(one.name for one in self._graph.output)
        kept = [one for one in self._graph.initializer if one.name in used]
        del self._graph.initializer[:]
        self._graph.initializer.extend(kept)

    def _weight(self, constant: TensorProto, axis: int) -> tuple[str, NodeProto]:
        from onnx import helper

        name, wide = next(self._names), next(self._names)
        scale = self._store_int8(constant, axis, name)
        return wide, helper.make_node(
            "DequantizeLinear", [name, scale], [wide], name=next(self._names), axis=axis
        )

    def _store_int8(self, constant: TensorProto, axis: int, name: str) -> str:
        """Add the INT8 numbers and their scales to the graph; gives the scales' name."""
        from onnx import numpy_helper

        numbers, scales = rounded_weights(numpy_helper.to_array(constant), axis)
        scale = next(self._names)
        self._graph.initializer.append(numpy_helper.from_array(numbers, name))
        self._graph.initializer.append(
            numpy_helper.from_array(_as_scale(scales, constant.data_type), scale)
        )
        return scale

    def _activation(self, name: str) -> tuple[NodeProto, NodeProto]:
        from onnx import helper, numpy_helper

        kind = self._types.get(name, FLOAT)
        step = np.float64(self._ranges.thresholds[name] / STEPS)
        scale, zero, small, wide = (next(self._names) for _ in range(4))
        self._graph.initializer.append(numpy_helper.from_array(_as_scale(step, kind), scale))
        self._graph.initializer.append(numpy_helper.from_array(np.array(0, np.int8), zero))
        return (
            helper.make_node(
                "QuantizeLinear", [name, scale, zero], [small], name=next(self._names)
            ),
            helper.make_node(
                "DequantizeLinear", [small, scale, zero], [wide], name=next(self._names)
            ),
        )


def weight_axis(node: NodeProto, rank: int) -> int:
    """The axis of a weight whose entries each have an output of their own.

    Args:
        node: A convolution or product.
        rank: How many axes the weight has.
    """
    if node.op_type == "Conv":
        return 0
    if node.op_type == "Gemm":
        return 0 if any(one.name == "transB" and one.i for one in node.attribute) else 1
    return rank - 1


def rounded_weights(
    weight: NDArray[Any], axis: int
) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """A weight as INT8 with one scale for each entry of an axis.

    Args:
        weight: Any shape.
        axis: The axis that has scales.

    Returns:
        The numbers, and the scales that they are multiplied by.
    """
    wide = weight.astype(np.float64)
    others = tuple(index for index in range(wide.ndim) if index != axis)
    largest = np.abs(wide).max(axis=others, keepdims=True)
    scales = np.where(largest > 0, largest / STEPS, 1.0)
    numbers = np.clip(np.rint(wide / scales), -STEPS, STEPS).astype(np.int8)
    return numbers, scales.reshape(-1)


def _as_scale(values: Any, kind: int) -> NDArray[Any]:
    dtype = np.float16 if kind == FLOAT16 else np.float32
    scale: NDArray[Any] = np.maximum(np.asarray(values), _SMALLEST_SCALE[kind]).astype(dtype)
    return scale
