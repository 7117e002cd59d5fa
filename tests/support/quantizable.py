"""Graphs with weights: a small convolutional network over frames, a look-up, and a product."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CHANNELS, ROWS, COLUMNS = 6, 2048, 32


def model_of(
    nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: dict[str, Any]
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(*one) for one in inputs],
        [helper.make_tensor_value_info(*one) for one in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


def convolutional(*, half: bool = False, spread: float = 1.0) -> onnx.ModelProto:
    """Two convolutions and a linear layer; ``spread`` makes one of its inputs that much larger."""
    random = np.random.default_rng(4)
    kind = np.float16 if half else np.float32
    real = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    node = helper.make_node
    gain = np.ones((1, CHANNELS), kind)
    gain[0, 0] = spread
    return model_of(
        [
            node("Cast", ["frames"], ["wide"], to=real),
            node("Mul", ["wide", "val_scale"], ["unit"]),
            node("Transpose", ["unit"], ["turned"], perm=[0, 3, 1, 2]),
            node("Conv", ["turned", "stem.weight", "stem.bias"], ["first"], strides=[2, 2]),
            node("Relu", ["first"], ["positive"]),
            node("Conv", ["positive", "blocks.0.weight"], ["second"], group=CHANNELS),
            node("GlobalAveragePool", ["second"], ["pooled"]),
            node("Flatten", ["pooled"], ["flat"]),
            node("Mul", ["flat", "val_gain"], ["uneven"]),
            node("Gemm", ["uneven", "head.weight", "head.bias"], ["features"], transB=1),
        ],
        [("frames", TensorProto.UINT8, ["batch", 16, 16, 3])],
        [("features", real, ["batch", 4])],
        {
            "val_scale": np.array(1 / 255, kind),
            "val_gain": gain,
            "stem.weight": random.normal(0, 0.5, (CHANNELS, 3, 3, 3)).astype(kind),
            "stem.bias": random.normal(0, 0.1, CHANNELS).astype(kind),
            "blocks.0.weight": random.normal(0, 0.5, (CHANNELS, 1, 3, 3)).astype(kind),
            "head.weight": random.normal(0, 0.5, (4, CHANNELS)).astype(kind),
            "head.bias": random.normal(0, 0.1, 4).astype(kind),
        },
    )


def looking_up() -> onnx.ModelProto:
    """An embedding, a linear layer, and a product of two activations."""
    random = np.random.default_rng(5)
    node = helper.make_node
    return model_of(
        [
            node("Gather", ["embeddings.weight", "token_ids"], ["words"]),
            node("MatMul", ["words", "layer.0.weight.transposed"], ["mixed"]),
            node("Transpose", ["mixed"], ["turned"], perm=[0, 2, 1]),
            node("MatMul", ["words", "turned"], ["scores"]),
        ],
        [("token_ids", TensorProto.INT64, ["batch", "tokens"])],
        [("scores", TensorProto.FLOAT, ["batch", "tokens", "tokens"])],
        {
            "embeddings.weight": random.normal(0, 1, (ROWS, COLUMNS)).astype(np.float32),
            "layer.0.weight.transposed": random.normal(0, 0.2, (COLUMNS, COLUMNS)).astype(
                np.float32
            ),
        },
    )


def frames(count: int, *, seed: int = 0) -> np.ndarray:
    """Pictures of smooth noise."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (count, 4, 4, 3))
    return coarse.repeat(4, axis=1).repeat(4, axis=2).astype(np.uint8)


def mean_colour(size: int) -> onnx.ModelProto:
    """Each frame's mean colour around grey, by a convolution and a linear layer with weights."""
    random = np.random.default_rng(6)
    node = helper.make_node
    averaging = random.normal(0, 1e-3, (CHANNELS, 3, 8, 8)).astype(np.float32)
    mixing = np.zeros((3, CHANNELS), np.float32)
    for channel in range(3):
        averaging[channel, channel] += 1 / 64
        mixing[channel, channel] = 1
    return model_of(
        [
            node("Cast", ["frames"], ["wide"], to=TensorProto.FLOAT),
            node("Mul", ["wide", "val_scale"], ["unit"]),
            node("Transpose", ["unit"], ["turned"], perm=[0, 3, 1, 2]),
            node("Conv", ["turned", "stem.weight", "stem.bias"], ["first"], strides=[8, 8]),
            node("Relu", ["first"], ["positive"]),
            node("GlobalAveragePool", ["positive"], ["pooled"]),
            node("Flatten", ["pooled"], ["flat"]),
            node("Gemm", ["flat", "head.weight", "head.bias"], ["features"], transB=1),
        ],
        [("frames", TensorProto.UINT8, ["batch", size, size, 3])],
        [("features", TensorProto.FLOAT, ["batch", 3])],
        {
            "val_scale": np.array(1 / 255, np.float32),
            "stem.weight": averaging,
            "stem.bias": np.zeros(CHANNELS, np.float32),
            "head.weight": mixing,
            "head.bias": np.full(3, -0.5, np.float32),
        },
    )


def residual() -> onnx.ModelProto:
    """Three convolutions with biases; the second's result is added to what it came from."""
    random = np.random.default_rng(5)
    node, real = helper.make_node, TensorProto.FLOAT

    def weight(*shape: int) -> np.ndarray:
        return random.normal(0, 0.3, shape).astype(np.float32)

    return model_of(
        [
            node("Cast", ["frames"], ["wide"], to=real),
            node("Mul", ["wide", "val_scale"], ["unit"]),
            node("Transpose", ["unit"], ["turned"], perm=[0, 3, 1, 2]),
            node("Conv", ["turned", "stem.weight", "stem.bias"], ["first"]),
            node("Relu", ["first"], ["positive"]),
            node("Conv", ["positive", "blocks.0.weight", "blocks.0.bias"], ["second"]),
            node("Add", ["positive", "second"], ["sum"]),
            node("Conv", ["sum", "blocks.1.weight", "blocks.1.bias"], ["third"]),
            node("Relu", ["third"], ["cut"]),
            node("GlobalAveragePool", ["cut"], ["pooled"]),
            node("Flatten", ["pooled"], ["features"]),
        ],
        [("frames", TensorProto.UINT8, ["batch", 16, 16, 3])],
        [("features", real, ["batch", CHANNELS])],
        {
            "val_scale": np.array(1 / 255, np.float32),
            "stem.weight": weight(CHANNELS, 3, 3, 3),
            "stem.bias": weight(CHANNELS),
            "blocks.0.weight": weight(CHANNELS, CHANNELS, 1, 1),
            "blocks.0.bias": weight(CHANNELS),
            "blocks.1.weight": weight(CHANNELS, CHANNELS, 1, 1),
            "blocks.1.bias": weight(CHANNELS),
        },
    )
