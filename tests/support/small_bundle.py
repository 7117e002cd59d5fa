"""A bundle of three tiny networks with the real ones' inputs and outputs, made in a moment."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.bundle.manifest import (
    MANIFEST_NAME,
    SCHEMA_VERSION,
    Decoding,
    Manifest,
    NetworkEntry,
    NetworkFile,
    Preprocessing,
    Provenance,
    TensorEntry,
    TokenizerEntry,
    Windows,
)

SIDE, WIDTH, VOCABULARY = 4, 6, 11
KINDS = {
    TensorProto.FLOAT: "float32",
    TensorProto.FLOAT16: "float16",
    TensorProto.UINT8: "uint8",
    TensorProto.INT64: "int64",
    TensorProto.BOOL: "bool",
}
Values = list[tuple[str, int, list[int | str]]]


def _weights(name: str, *shape: int, half: bool) -> onnx.TensorProto:
    generator = np.random.default_rng(len(name) + sum(shape))
    array = generator.normal(0, 0.5, shape).astype(np.float16 if half else np.float32)
    return numpy_helper.from_array(array, name)


def _model(
    nodes: list[onnx.NodeProto], inputs: Values, outputs: Values, weights: list[onnx.TensorProto]
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model


def visual(*, half: bool = False, scale: int = 255) -> onnx.ModelProto:
    """Frames, cast, flattened, projected."""
    real = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    node = helper.make_node
    return _model(
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
    return _model(
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
    return _model(
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
    folder.mkdir(parents=True, exist_ok=True)
    dims = {
        "visual": {"feature": WIDTH},
        "text": {"token": WIDTH, "sentence": WIDTH},
        "localizer": {"hidden": WIDTH},
    }
    networks = {}
    for maker in (visual, text, localizer):
        name = maker.__name__
        variants = {
            precision: _write(folder, name, precision, maker(half=precision == "fp16"))
            for precision in ("fp32", "fp16")
        }
        networks[name] = NetworkEntry(dims=dims[name], variants=variants)
    tokenizer = _tokenizer()
    (folder / "tokenizer.json").write_bytes(tokenizer)
    manifest = Manifest(
        schema=SCHEMA_VERSION,
        name="small",
        networks=networks,
        tokenizer=TokenizerEntry(
            file="tokenizer.json",
            sha256=hashlib.sha256(tokenizer).hexdigest(),
            max_tokens=16,
            pad_id=0,
        ),
        preprocessing=Preprocessing(size=SIDE),
        frames_per_second=1.0,
        routing_iterations=3,
        shared_space=None,
        decoding=Decoding(),
        windows=Windows(frames=32, overlap=8),
        score_calibration=None,
        license="Apache-2.0",
        provenance=Provenance(
            created_by="a test", visual_encoder="", text_encoder="", checkpoint_sha256=""
        ),
    )
    (folder / MANIFEST_NAME).write_bytes(msgspec.json.encode(manifest))
    return Bundle.open(folder)


def _tokenizer() -> bytes:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    words = ["[PAD]", "[UNK]", "a", "person", "cat", "walks", "sits", "the", "room", "in", "across"]
    vocabulary = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer.to_str().encode()


def _write(folder: Path, name: str, precision: str, model: onnx.ModelProto) -> NetworkFile:
    content = model.SerializeToString()
    file = f"{name}.{precision}.onnx"
    (folder / file).write_bytes(content)
    return NetworkFile(
        file=file,
        sha256=hashlib.sha256(content).hexdigest(),
        inputs=tuple(_entry(value) for value in model.graph.input),
        outputs=tuple(_entry(value) for value in model.graph.output),
    )


def _entry(value: onnx.ValueInfoProto) -> TensorEntry:
    tensor = value.type.tensor_type
    return TensorEntry(
        name=value.name,
        dtype=KINDS[tensor.elem_type],
        shape=tuple(dim.dim_param or dim.dim_value for dim in tensor.shape.dim),
    )


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
