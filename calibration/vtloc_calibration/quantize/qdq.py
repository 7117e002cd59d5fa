"""Explicit INT8: pairs of QuantizeLinear and DequantizeLinear around convolutions and products.

Weights are stored as INT8, one scale a channel; activations are rounded to INT8 on their way in,
one scale a tensor; both symmetric, zero at zero, as TensorRT wants it. Biases, and everything
that is neither a convolution nor a product, stay in the graph's own precision. Embedding tables
are stored as INT8 too.

For a CPU the same, and three things more without which ONNX Runtime computes convolutions in FP32
after all: their results and the sums of these are rounded too, once what cuts them off at zero has
had its turn; activations count without a sign, from 0 or around 128 (TensorRT takes no such
numbers); and biases count in steps of the product, in 32 bits.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from vtloc_calibration.quantize.fusing import round_tensors, rounded_results
from vtloc_calibration.quantize.histograms import STEPS, Histogram, RangeMethod, collect
from vtloc_calibration.quantize.onnx_graph import (
    FLOAT,
    FLOAT16,
    element_types,
    products,
    unused_names,
)
from vtloc_calibration.quantize.tables import SmallTables, table_lookups
from vtloc_calibration.quantize.weights import rounded_weights, weight_axis

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto, NodeProto, TensorProto

    from vtloc_runtime.networks.interface import Array

Processor = Literal["cpu", "gpu"]
"""What the INT8 graph is for: ONNX Runtime on a CPU, or TensorRT."""

_UNSIGNED_STEPS = 255
_MIDDLE = 128
_LARGEST_BIAS = 2**30
_INSIDE = 1 - 1e-6
"""Keeps a range just inside the cut at its end, which ONNX Runtime then drops as done already."""

_SMALLEST_SCALE = {FLOAT: 1e-30, FLOAT16: 6e-8}


@dataclass(frozen=True, slots=True)
class ActivationRanges:
    """Clipping thresholds of activations.

    Attributes:
        thresholds: Largest absolute value that INT8 tells apart, by tensor.
        method: How they were chosen.
        unsigned: Tensors that were never seen to be negative.
    """

    thresholds: Mapping[str, float]
    method: RangeMethod
    unsigned: frozenset[str] = frozenset()

    @classmethod
    def from_histograms(
        cls, histograms: Mapping[str, Histogram], method: RangeMethod
    ) -> ActivationRanges:
        """Choose thresholds from histograms."""
        found = {name: histogram.threshold(method) for name, histogram in histograms.items()}
        unsigned = frozenset(
            name for name, histogram in histograms.items() if histogram.lowest >= 0
        )
        return cls(found, method, unsigned)


def count_activations(
    model: ModelProto, calls: Iterable[Mapping[str, Array]]
) -> dict[str, Histogram]:
    """Count the values of every activation that INT8 would round, in one run over the samples.

    Args:
        model: The graph in FP32 or FP16.
        calls: Inputs by name.

    Raises:
        CalibrationError: There are no samples, or an activation is not finite.
    """
    constants = {initializer.name for initializer in model.graph.initializer}
    names = dict.fromkeys(
        name for node in products(model) for name in node.input[:2] if name not in constants
    )
    results = rounded_results(model, [node.name for node in products(model)])
    return collect(model, calls, tuple({**names, **dict.fromkeys(results)}))


def candidates(model: ModelProto) -> tuple[str, ...]:
    """Names of the nodes that INT8 can serve: products, and look-ups in large tables."""
    served = {node.name for node in products(model)} | set(table_lookups(model))
    return tuple(node.name for node in model.graph.node if node.name in served)


def quantize(
    model: ModelProto,
    ranges: ActivationRanges,
    *,
    nodes: Collection[str] | None = None,
    processor: Processor = "gpu",
) -> ModelProto:
    """Write INT8 into a graph.

    Args:
        model: The graph in FP32 or FP16, opset 19 to 20; it is left as it is.
        ranges: Where activations are clipped.
        nodes: Names of the candidates to run in INT8; None takes all of them.
        processor: Where the graph will run: ``"cpu"`` for ONNX Runtime, ``"gpu"`` for TensorRT.

    Returns:
        The graph with QuantizeLinear and DequantizeLinear pairs.
    """
    from onnx import ModelProto

    written = ModelProto()
    written.CopyFrom(model)
    writer = _Writer(written, ranges, for_cpu=processor == "cpu")
    every = set(candidates(model))
    chosen = every if nodes is None else every & set(nodes)
    if processor == "cpu":
        round_tensors(written, chosen, writer.activation)
    kept = []
    for node in written.graph.node:
        if node.name not in chosen:
            kept.append(node)
        elif node.op_type == "Gather":
            kept.extend(writer.table(node))
        else:
            kept.extend([*writer.around(node), node])
    del written.graph.node[:]
    written.graph.node.extend(kept)
    writer.finish()
    return written


class _Writer:
    """Adds Q/DQ pairs to one graph; a tensor gets one pair, however many nodes read it."""

    def __init__(self, model: ModelProto, ranges: ActivationRanges, *, for_cpu: bool) -> None:
        self._for_cpu = for_cpu
        self._graph = model.graph
        self._types = element_types(model)
        self._constants = {initializer.name: initializer for initializer in model.graph.initializer}
        self._ranges = ranges
        self._names = unused_names(model)
        self._tables = SmallTables(self._constants, self._names)
        self._rounded: dict[tuple[str, int], str] = {}
        self._steps: dict[str, NDArray[np.float64]] = {}
        self._scales: dict[str, NDArray[np.float64]] = {}

    def around(self, node: NodeProto) -> Iterator[NodeProto]:
        """Quantize the two factors of a product; returns the nodes to insert before it."""
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
                    pair = self.activation(name)
                    if pair is None:
                        continue
                    yield from pair
                    self._rounded[key] = pair[1].output[0]
            node.input[index] = self._rounded[key]
        if self._for_cpu and node.op_type == "Conv" and len(node.input) == 3:
            yield from self._bias(node)

    def table(self, node: NodeProto) -> Iterator[NodeProto]:
        """Quantize the table of a look-up, a scale a row; returns the nodes in its place."""
        name = node.input[0]
        if self._for_cpu:
            yield from self._tables.look_up(node, self._names)
            return
        # Widened before the look-up, for TensorRT takes INT8 constants nowhere else.
        if (name, 0) not in self._rounded:
            self._rounded[name, 0], widen = self._weight(self._constants[name], 0)
            yield widen
        node.input[0] = self._rounded[name, 0]
        yield node

    def finish(self) -> None:
        """Drop the wide weights that nothing reads any more."""
        used = {name for node in self._graph.node for name in node.input}
        used.update(value.name for value in self._graph.output)
        kept = [initializer for initializer in self._graph.initializer if initializer.name in used]
        kept.extend(self._tables.tensors())
        del self._graph.initializer[:]
        self._graph.initializer.extend(kept)

    def _weight(self, constant: TensorProto, axis: int) -> tuple[str, NodeProto]:
        from onnx import helper

        name, wide = next(self._names), next(self._names)
        scale = self._store_int8(constant, axis, name)
        self._steps[wide] = self._scales[scale]
        return wide, helper.make_node(
            "DequantizeLinear", [name, scale], [wide], name=next(self._names), axis=axis
        )

    def _store_int8(self, constant: TensorProto, axis: int, name: str) -> str:
        """Add INT8 numbers and their scales to the graph; returns the name of the scales."""
        from onnx import numpy_helper

        numbers, scales = rounded_weights(numpy_helper.to_array(constant), axis)
        scale = next(self._names)
        self._scales[scale] = scales
        self._graph.initializer.append(numpy_helper.from_array(numbers, name))
        self._graph.initializer.append(
            numpy_helper.from_array(_as_scale(scales, constant.data_type), scale)
        )
        return scale

    def _rounding(self, name: str, threshold: float) -> tuple[float, NDArray[Any]]:
        """A tensor's scale and zero point."""
        if not self._for_cpu:
            return threshold / STEPS, np.array(0, np.int8)
        if name in self._ranges.unsigned:
            return threshold * _INSIDE / _UNSIGNED_STEPS, np.array(0, np.uint8)
        # ONNX Runtime joins no convolution that takes one type and gives another.
        return threshold / STEPS, np.array(_MIDDLE, np.uint8)

    def _bias(self, node: NodeProto) -> Iterator[NodeProto]:
        """Quantize a convolution's bias to INT32, scaled by activation times weight."""
        from onnx import helper, numpy_helper

        constant, inputs = self._constants.get(node.input[2]), node.input[:2]
        if constant is None or not all(tensor in self._steps for tensor in inputs):
            return
        steps = (self._steps[inputs[0]] * self._steps[inputs[1]]).astype(np.float32)
        wide = numpy_helper.to_array(constant).astype(np.float64)
        numbers = np.rint(wide / steps)
        if np.abs(numbers).max(initial=0) > _LARGEST_BIAS:
            return
        name, scale, zero, read = (next(self._names) for _ in range(4))
        for array, stored in (
            (numbers.astype(np.int32), name),
            (steps, scale),
            (np.zeros(len(steps), np.int32), zero),
        ):
            self._graph.initializer.append(numpy_helper.from_array(array, stored))
        node.input[2] = read
        yield helper.make_node(
            "DequantizeLinear", [name, scale, zero], [read], name=next(self._names), axis=0
        )

    def activation(self, name: str) -> tuple[NodeProto, NodeProto] | None:
        """The Q/DQ pair of a tensor; None where only zeros were seen."""
        from onnx import helper, numpy_helper

        threshold = self._ranges.thresholds.get(name, 0.0)
        if threshold <= 0:
            return None
        step, origin = self._rounding(name, threshold)
        scale, zero, small, wide = (next(self._names) for _ in range(4))
        self._steps[wide] = np.asarray(step)
        stored = _as_scale(step, self._types.get(name, FLOAT))
        self._graph.initializer.append(numpy_helper.from_array(stored, scale))
        self._graph.initializer.append(numpy_helper.from_array(origin, zero))
        return (
            helper.make_node(
                "QuantizeLinear", [name, scale, zero], [small], name=next(self._names)
            ),
            helper.make_node(
                "DequantizeLinear", [small, scale, zero], [wide], name=next(self._names)
            ),
        )


def _as_scale(values: Any, kind: int) -> NDArray[Any]:
    dtype = np.float16 if kind == FLOAT16 else np.float32
    scale: NDArray[Any] = np.maximum(np.asarray(values), _SMALLEST_SCALE[kind]).astype(dtype)
    return scale
