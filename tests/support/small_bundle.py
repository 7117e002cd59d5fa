"""A bundle of three tiny networks with the real ones' inputs and outputs, made in a moment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.support.bundle_files import make_model, make_tokenizer, write_bundle
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.bundle.manifest import Preprocessing, Windows

SIDE, WIDTH, VOCABULARY = 4, 6, 11


def _weights(name: str, *shape: int, half: bool) -> onnx.TensorProto:
    generator = np.random.default_rng(len(name) + sum(shape))
    array = generator.normal(0, 0.5, shape).astype(np.float16 if half else np.float32)
    return numpy_helper.from_array(array, name)


def visual(*, half: bool = False, scale: int = 255) -> onnx.ModelProto:
    """Frames, cast, flattened, projected."""
    real = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    node = helper.make_node
    return make_model(
        [
            node("Cast", ["frames"], ["pixels"], to=real),
            node("Div", ["pixels", "scale"], ["scaled"]),
            node("Flatten", ["scaled"], ["flat"]),
            node("MatMul", ["flat", "weight"], ["features"]),
        ],
        [("frames", TensorProto.UINT8, ["batch", SIDE, SIDE, 3])],
        [("features", real, ["batch", WIDTH])],
        [
            numpy_helper.from_array(np.array(scale, np.float16 if half else np.float32), "scale"),
            _weights("weight", SIDE * SIDE * 3, WIDTH, half=half),
        ],
    )


def text(*, half: bool = False) -> onnx.ModelProto:
    """Token ids, embedded; the sentence is their masked sum."""
    real = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    node = helper.make_node
    return make_model(
        [
            node("Gather", ["table", "token_ids"], ["tokens"]),
            node("Cast", ["token_mask"], ["mask"], to=real),
            node("Unsqueeze", ["mask", "last"], ["column"]),
            node("Mul", ["tokens", "column"], ["masked"]),
            node("ReduceSum", ["masked", "axis"], ["sentence"], keepdims=0),
        ],
        [
            ("token_ids", TensorProto.INT64, ["batch", "tokens"]),
            ("token_mask", TensorProto.BOOL, ["batch", "tokens"]),
        ],
        [
            ("tokens", real, ["batch", "tokens", WIDTH]),
            ("sentence", real, ["batch", WIDTH]),
        ],
        [
            _weights("table", VOCABULARY, WIDTH, half=half),
            numpy_helper.from_array(np.array([-1], np.int64), "last"),
            numpy_helper.from_array(np.array([1], np.int64), "axis"),
        ],
    )


def localizer(*, half: bool = False) -> onnx.ModelProto:
    """Frames against tokens: logits are the alignment's extremes, masked."""
    real = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    node = helper.make_node
    return make_model(
        [
            node("Transpose", ["features"], ["columns"], perm=[0, 2, 1]),
            node("MatMul", ["tokens", "columns"], ["raw"]),
            node("Cast", ["raw"], ["products"], to=TensorProto.FLOAT),
            node("Cast", ["token_mask"], ["token_weight"], to=TensorProto.FLOAT),
            node("Unsqueeze", ["token_weight", "last"], ["token_column"]),
            node("Cast", ["frame_mask"], ["frame_weight"], to=TensorProto.FLOAT),
            node("Unsqueeze", ["frame_weight", "axis"], ["frame_row"]),
            node("Mul", ["products", "token_column"], ["half_masked"]),
            node("Mul", ["half_masked", "frame_row"], ["alignment"]),
            # As in the real network, padding tokens change nothing.
            node("Sub", ["token_column", "one"], ["absent"]),
            node("Mul", ["absent", "far"], ["below"]),
            node("Add", ["alignment", "below"], ["lowered"]),
            node("Sub", ["alignment", "below"], ["raised"]),
            node("ReduceMax", ["lowered", "axis"], ["start_logits"], keepdims=0),
            node("ReduceMin", ["raised", "axis"], ["end_logits"], keepdims=0),
        ],
        [
            ("features", real, ["batch", "frames", WIDTH]),
            ("frame_mask", TensorProto.BOOL, ["batch", "frames"]),
            ("tokens", real, ["batch", "tokens", WIDTH]),
            ("token_mask", TensorProto.BOOL, ["batch", "tokens"]),
        ],
        [
            ("start_logits", TensorProto.FLOAT, ["batch", "frames"]),
            ("end_logits", TensorProto.FLOAT, ["batch", "frames"]),
            ("alignment", TensorProto.FLOAT, ["batch", "tokens", "frames"]),
        ],
        [
            numpy_helper.from_array(np.array([-1], np.int64), "last"),
            numpy_helper.from_array(np.array([1], np.int64), "axis"),
            numpy_helper.from_array(np.array(1, np.float32), "one"),
            numpy_helper.from_array(np.array(1e4, np.float32), "far"),
        ],
    )


def write_small_bundle(folder: Path) -> Bundle:
    """Write the bundle and open it."""
    words = ["[PAD]", "[UNK]", "a", "person", "cat", "walks", "sits", "the", "room", "in", "across"]
    half = TensorProto.FLOAT16
    write_bundle(
        folder,
        {
            "visual": lambda floats: visual(half=floats == half),
            "text": lambda floats: text(half=floats == half),
            "localizer": lambda floats: localizer(half=floats == half),
        },
        {
            "visual": {"feature": WIDTH},
            "text": {"token": WIDTH, "sentence": WIDTH},
            "localizer": {"hidden": WIDTH},
        },
        make_tokenizer(words),
        max_tokens=16,
        name="small",
        preprocessing=Preprocessing(size=SIDE),
        windows=Windows(frames=32, overlap=8),
    )
    return Bundle.open(folder)


def example_inputs(
    name: str,
    *,
    batch: int = 2,
    frames: int = 5,
    tokens: int = 3,
    half: bool = False,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Inputs that a network of the small bundle takes."""
    generator = np.random.default_rng(seed)
    real = np.float16 if half else np.float32
    if name == "visual":
        return {"frames": generator.integers(0, 256, (batch, SIDE, SIDE, 3), dtype=np.uint8)}
    token_mask = np.ones((batch, tokens), bool)
    token_mask[:, tokens - 1 :] = False
    if name == "text":
        ids = generator.integers(0, VOCABULARY, (batch, tokens), dtype=np.int64)
        return {"token_ids": ids, "token_mask": token_mask}
    return {
        "features": generator.normal(size=(batch, frames, WIDTH)).astype(real),
        "frame_mask": np.ones((batch, frames), bool),
        "tokens": generator.normal(size=(batch, tokens, WIDTH)).astype(real),
        "token_mask": token_mask,
    }
