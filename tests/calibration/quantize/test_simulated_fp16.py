"""Half precision by rounding shows what a CPU's half precision hides."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from tests.support.quantizable import convolutional, frames, model_of
from vtloc_calibration.quantize.onnx_graph import load_graph
from vtloc_calibration.quantize.simulated_fp16 import round_to_half


def run(model: onnx.ModelProto, **inputs: np.ndarray) -> np.ndarray:
    result: np.ndarray = onnxruntime.InferenceSession(model.SerializeToString()).run(None, inputs)[
        0
    ]
    return result


def chain() -> onnx.ModelProto:
    """A product with a large number, then with a small one: half precision overflows between."""
    node = helper.make_node
    return load_graph(
        model_of(
            [
                node("Mul", ["x", "large"], ["between"]),
                node("Mul", ["between", "small"], ["y"]),
            ],
            [("x", TensorProto.FLOAT, ["n"])],
            [("y", TensorProto.FLOAT, ["n"])],
            {"large": np.float32(1e4), "small": np.float32(1e-4)},
        ).SerializeToString()
    )


def test_results_and_weights_are_those_of_half_precision() -> None:
    model = chain()
    x = np.array([0.1, 1 / 3, 2.0], dtype=np.float32)
    rounded = run(round_to_half(model, {node.name for node in model.graph.node}), x=x)
    between = (x * np.float32(1e4)).astype(np.float16).astype(np.float32)
    expected = (between * np.float32(np.float16(1e-4))).astype(np.float16).astype(np.float32)
    assert np.array_equal(rounded, expected)


def test_an_overflow_between_two_nodes_is_seen() -> None:
    model = chain()
    x = np.array([100.0], dtype=np.float32)
    assert run(model, x=x)[0] == np.float32(100)
    assert np.isinf(run(round_to_half(model, {node.name for node in model.graph.node}), x=x)[0])


def test_the_inner_steps_of_a_norm_stay_exact() -> None:
    # Squares of large numbers, and a floor that half precision takes for zero.
    node = helper.make_node
    model = load_graph(
        model_of(
            [
                node("Pow", ["x", "two"], ["squares"]),
                node("ReduceSum", ["squares", "last"], ["sum"], keepdims=1),
                node("Max", ["sum", "tiny"], ["safe"]),
                node("Sqrt", ["safe"], ["length"]),
                node("Div", ["x", "length"], ["y"]),
            ],
            [("x", TensorProto.FLOAT, ["n", 2])],
            [("y", TensorProto.FLOAT, ["n", 2])],
            {"two": np.float32(2), "last": np.array([-1]), "tiny": np.float32(1e-12)},
        ).SerializeToString()
    )
    x = np.array([[300.0, 400.0], [0.0, 0.0]], dtype=np.float32)
    rounded = run(round_to_half(model, {one.name for one in model.graph.node}), x=x)
    assert rounded.tolist() == [[np.float16(0.6), np.float16(0.8)], [0.0, 0.0]]


def test_modules_that_are_not_chosen_stay_exact() -> None:
    model = load_graph(convolutional().SerializeToString())
    pictures = frames(8)
    assert np.array_equal(
        run(round_to_half(model, ()), frames=pictures), run(model, frames=pictures)
    )


def test_the_rounded_network_agrees_with_one_in_half_precision() -> None:
    model = load_graph(convolutional().SerializeToString())
    pictures = frames(8)
    exact = run(model, frames=pictures)
    rounded = run(round_to_half(model, {node.name for node in model.graph.node}), frames=pictures)
    half = run(convolutional(half=True), frames=pictures).astype(np.float32)
    error = np.abs(rounded - exact).max()
    assert 0 < error < 5e-3
    assert np.abs(half - exact).max() < 5e-3
