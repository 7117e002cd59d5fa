"""Explicit INT8: small, symmetric, close to FP32, and what a well-known quantizer writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from tests.support.quantizable import COLUMNS, ROWS, convolutional, frames, looking_up, residual
from vtloc_calibration.errors import CalibrationError
from vtloc_calibration.quantize.histograms import RANGE_METHODS, Histogram, RangeMethod
from vtloc_calibration.quantize.onnx_graph import grouped, load_graph, module_name, module_of_nodes
from vtloc_calibration.quantize.qdq import (
    ActivationRanges,
    Processor,
    candidates,
    count_activations,
    quantize,
)
from vtloc_calibration.quantize.weights import rounded_weights
from vtloc_runtime.errors import BundleError


def run(model: onnx.ModelProto, inputs: dict[str, Any]) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    result: np.ndarray = session.run(None, inputs)[0]
    return result.astype(np.float64)


def relative_l2(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))


def loaded(model: onnx.ModelProto) -> onnx.ModelProto:
    return load_graph(model.SerializeToString())


@pytest.mark.parametrize("method", RANGE_METHODS)
@pytest.mark.parametrize("half", [False, True])
def test_a_quantized_network_stays_close_to_its_source(method: RangeMethod, half: bool) -> None:
    model = loaded(convolutional(half=half))
    histograms = count_activations(model, [{"frames": frames(64)}])
    small = quantize(model, ActivationRanges.from_histograms(histograms, method))
    onnx.checker.check_model(small, full_check=True)
    inputs = {"frames": frames(16, seed=1)}
    assert relative_l2(run(small, inputs), run(model, inputs)) < 0.05


def test_weights_are_int8_and_symmetric() -> None:
    model = loaded(convolutional())
    histograms = count_activations(model, [{"frames": frames(8)}])
    small = quantize(model, ActivationRanges.from_histograms(histograms, "minmax"))
    stored = {one.name: numpy_helper.to_array(one) for one in small.graph.initializer}
    narrow = [array for array in stored.values() if array.dtype == np.int8 and array.ndim]
    assert sorted(array.shape for array in narrow) == [(4, 6), (6, 1, 3, 3), (6, 3, 3, 3)]
    assert all(np.abs(array).max() == 127 for array in narrow)
    assert not {"stem.weight", "blocks.0.weight", "head.weight"} & stored.keys()
    assert stored["stem.bias"].dtype == np.float32
    for node in small.graph.node:
        if node.op_type == "QuantizeLinear":
            assert stored[node.input[2]] == 0


def test_a_tensor_that_two_products_read_is_rounded_once() -> None:
    model = loaded(looking_up())
    ids = np.arange(12).reshape(2, 6)
    histograms = count_activations(model, [{"token_ids": ids}])
    small = quantize(model, ActivationRanges.from_histograms(histograms, "minmax"))
    assert sum(node.op_type == "QuantizeLinear" for node in small.graph.node) == 2
    assert relative_l2(run(small, {"token_ids": ids}), run(model, {"token_ids": ids})) < 0.05


@pytest.mark.parametrize("processor", ["cpu", "gpu"])
def test_large_tables_are_stored_small(processor: Processor) -> None:
    model = loaded(looking_up())
    inputs = {"token_ids": np.arange(12).reshape(2, 6)}
    histograms = count_activations(model, [inputs])
    ranges = ActivationRanges.from_histograms(histograms, "minmax")
    small = quantize(model, ranges, processor=processor)
    assert model.ByteSize() > 4 * ROWS * COLUMNS
    assert small.ByteSize() < 1.4 * ROWS * COLUMNS
    assert relative_l2(run(small, inputs), run(model, inputs)) < 0.05
    # On a CPU only the rows that are looked up are widened.
    read = [node.input[0] for node in small.graph.node if node.op_type == "DequantizeLinear"]
    shapes = {item.name: list(item.dims) for item in small.graph.initializer}
    assert ([ROWS, COLUMNS] in [shapes.get(name) for name in read]) == (processor == "gpu")


def test_only_the_chosen_nodes_are_lowered() -> None:
    model = loaded(convolutional())
    histograms = count_activations(model, [{"frames": frames(8)}])
    ranges = ActivationRanges.from_histograms(histograms, "minmax")
    nodes = candidates(model)
    assert len(nodes) == 3
    one = quantize(model, ranges, nodes={nodes[1]})
    assert sum(node.op_type == "QuantizeLinear" for node in one.graph.node) == 1
    none = quantize(model, ranges, nodes=())
    inputs = {"frames": frames(4)}
    assert np.array_equal(run(none, inputs), run(model, inputs))


def test_the_source_is_left_as_it_is() -> None:
    model = loaded(convolutional())
    before = model.SerializeToString()
    histograms = count_activations(model, [{"frames": frames(8)}])
    quantize(model, ActivationRanges.from_histograms(histograms, "minmax"))
    assert model.SerializeToString() == before


def test_the_same_numbers_come_out_as_of_onnx_runtimes_own_quantizer(tmp_path: Path) -> None:
    from onnxruntime.quantization import CalibrationMethod, QuantType, quantize_static

    model = loaded(convolutional())
    products = ["Conv", "Gemm"]
    pictures = frames(32)

    class Reader:
        def __init__(self) -> None:
            self._calls = iter([{"frames": pictures}])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self._calls, None)

    onnx.save(model, tmp_path / "source.onnx")
    quantize_static(
        tmp_path / "source.onnx",
        tmp_path / "theirs.onnx",
        Reader(),
        op_types_to_quantize=products,
        per_channel=True,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
        extra_options={
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            "QuantizeBias": False,
            "OpTypesToExcludeOutputQuantization": products,
        },
    )
    histograms = count_activations(model, [{"frames": pictures}])
    ours = quantize(model, ActivationRanges.from_histograms(histograms, "minmax"))
    inputs = {"frames": frames(16, seed=9)}
    theirs = run(onnx.load(tmp_path / "theirs.onnx"), inputs)
    assert relative_l2(run(ours, inputs), theirs) < 5e-3


@given(st.integers(0, 2**31), st.integers(0, 1))
@settings(max_examples=50)
def test_no_weight_is_further_off_than_half_a_step(seed: int, axis: int) -> None:
    random = np.random.default_rng(seed)
    weight = random.normal(0, 10.0 ** random.integers(-6, 6), (5, 7))
    weight[0] *= random.integers(0, 2)
    numbers, scales = rounded_weights(weight, axis)
    steps = scales[:, None] if axis == 0 else scales[None]
    assert np.all(np.abs(numbers * steps - weight) <= steps / 2 * (1 + 1e-9))


@given(st.lists(st.lists(st.floats(-1e4, 1e4), min_size=1), min_size=1))
def test_thresholds_lie_within_what_was_seen(batches: list[list[float]]) -> None:
    histogram = Histogram()
    for batch in batches:
        histogram.add(np.array(batch, dtype=np.float32))
    largest = max(abs(np.float32(value)) for batch in batches for value in batch)
    assert histogram.largest == pytest.approx(largest)
    # A subnormal range holds nothing: nothing there differs from zero.
    if largest > 1e-30:
        assert histogram.counts.sum() == sum(np.float32(v) != 0 for b in batches for v in b)
        for method in RANGE_METHODS:
            assert 0 < histogram.threshold(method) <= histogram.largest


def test_percentile_and_entropy_clip_a_lonely_outlier() -> None:
    histogram = Histogram()
    histogram.add(np.random.default_rng(0).normal(0, 1, 100_000))
    histogram.add(np.array([40.0]))
    assert histogram.threshold("minmax") == 40
    assert 3 < histogram.threshold("percentile") < 6
    assert 2 < histogram.threshold("entropy") < 8


def test_an_activation_that_is_not_finite_is_refused() -> None:
    with pytest.raises(CalibrationError, match="not finite"):
        Histogram().add(np.array([1.0, np.inf]))


def test_without_samples_there_is_no_calibration() -> None:
    with pytest.raises(CalibrationError, match="no sample"):
        count_activations(loaded(convolutional()), [])


def test_bytes_that_are_no_graph_are_refused() -> None:
    with pytest.raises(BundleError, match="not a valid ONNX graph"):
        load_graph(b"not at all", where="visual.onnx")


def test_nodes_belong_to_the_modules_of_their_parameters() -> None:
    model = loaded(convolutional())
    modules = module_of_nodes(model)
    assert list(grouped(candidates(model), modules)) == ["stem", "blocks.0", "head"]
    assert list(dict.fromkeys(modules.values())) == ["input", "stem", "blocks.0", "head"]


@pytest.mark.parametrize(
    ("parameter", "module"),
    [
        ("network.blocks.3.expand.convolution.weight", "network.blocks.3"),
        ("encoder.layer.11.attention.self.query.weight.transposed", "encoder.layer.11"),
        ("routing.vote.weight.transposed", "routing.vote"),
        ("class_embeddings", "class_embeddings"),
    ],
)
def test_modules_are_named_as_in_pytorch(parameter: str, module: str) -> None:
    assert module_name(parameter) == module


def optimized(model: onnx.ModelProto, folder: Path) -> list[str]:
    """The operators that ONNX Runtime makes of a graph."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return [node.op_type for node in onnx.load(folder / "optimized.onnx").graph.node]


@pytest.mark.parametrize("method", RANGE_METHODS)
def test_for_a_cpu_convolutions_are_computed_in_int8(method: RangeMethod, tmp_path: Path) -> None:
    model = loaded(residual())
    histograms = count_activations(model, [{"frames": frames(64)}])
    ranges = ActivationRanges.from_histograms(histograms, method)
    small = quantize(model, ranges, processor="cpu")
    onnx.checker.check_model(small, full_check=True)
    inputs = {"frames": frames(16, seed=1)}
    assert relative_l2(run(small, inputs), run(model, inputs)) < 0.05
    operators = optimized(small, tmp_path)
    assert operators.count("QLinearConv") == 3
    assert operators.count("QLinearAdd") == 1
    assert not {"Conv", "Relu"} & set(operators)
    # The graph for TensorRT is not joined so, which is why there are two.
    assert "QLinearConv" not in optimized(quantize(model, ranges), tmp_path)


def test_what_is_never_negative_has_every_step_above_zero() -> None:
    model = loaded(residual())
    ranges = ActivationRanges.from_histograms(
        count_activations(model, [{"frames": frames(8)}]), "minmax"
    )
    assert "positive" in ranges.unsigned
    assert "second" not in ranges.unsigned
    small = quantize(model, ranges, processor="cpu")
    stored = {one.name: numpy_helper.to_array(one) for one in small.graph.initializer}
    origins = {
        node.input[0]: stored[node.input[2]]
        for node in small.graph.node
        if node.op_type == "QuantizeLinear"
    }
    assert origins["positive"] == 0
    assert origins["second"] == 128
    assert all(origin.dtype == np.uint8 for origin in origins.values())


def test_a_convolution_that_is_spared_reads_what_was_not_rounded() -> None:
    model = loaded(residual())
    ranges = ActivationRanges.from_histograms(
        count_activations(model, [{"frames": frames(8)}]), "minmax"
    )
    spared = next(node for node in model.graph.node if node.output[0] == "second")
    nodes = set(candidates(model)) - {spared.name}
    small = quantize(model, ranges, nodes=nodes, processor="cpu")
    left = next(node for node in small.graph.node if node.name == spared.name)
    assert list(left.input) == list(spared.input)
    none = quantize(model, ranges, nodes=(), processor="cpu")
    inputs = {"frames": frames(4)}
    assert np.array_equal(run(none, inputs), run(model, inputs))
