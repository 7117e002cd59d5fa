"""A bundle small enough to reason about: frames are their mean colours, words name colours.

The visual network gives each frame's mean colour around grey, the text network looks words up in
the same three numbers, and the localizer marks where the cosine of the two rises and falls.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import av
import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from vtloc_runtime.bundle.manifest import (
    SCHEMA_VERSION,
    Decoding,
    Manifest,
    NetworkEntry,
    NetworkFile,
    Preprocessing,
    Provenance,
    SharedSpace,
    TensorEntry,
    TokenizerEntry,
    Windows,
)

SIZE = 32
COLOURS = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "magenta": (255, 0, 255),
    "cyan": (0, 255, 255),
}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *COLOURS, "a", "the", "screen", "turns"]
MAX_TOKENS = 12

_FLOATS = {"fp32": TensorProto.FLOAT, "fp16": TensorProto.FLOAT16}


def _constant(name: str, value: Any, dtype: Any) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(value, dtype=dtype), name)


def _model(nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: list[Any]) -> bytes:
    graph = helper.make_graph(nodes, "graph", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def _visual(floats: int) -> bytes:
    node = helper.make_node
    return _model(
        [
            node("Cast", ["frames"], ["wide"], to=TensorProto.FLOAT),
            node("ReduceMean", ["wide", "axes"], ["mean"], keepdims=0),
            node("Div", ["mean", "scale"], ["unit"]),
            node("Sub", ["unit", "grey"], ["colour"]),
            node("Cast", ["colour"], ["features"], to=floats),
        ],
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, ["batch", SIZE, SIZE, 3])],
        [helper.make_tensor_value_info("features", floats, ["batch", 3])],
        [
            _constant("axes", [1, 2], np.int64),
            _constant("scale", 255.0, np.float32),
            _constant("grey", 0.5, np.float32),
        ],
    )


def _text(floats: int) -> bytes:
    table = np.zeros((len(WORDS), 3))
    for word, colour in COLOURS.items():
        table[WORDS.index(word)] = np.array(colour) / 255 - 0.5
    node = helper.make_node
    value = helper.make_tensor_value_info
    return _model(
        [
            node("Gather", ["table", "token_ids"], ["looked_up"]),
            node("Cast", ["token_mask"], ["kept"], to=TensorProto.FLOAT),
            node("Unsqueeze", ["kept", "last"], ["column"]),
            node("Mul", ["looked_up", "column"], ["real"]),
            node("ReduceSum", ["real", "words"], ["sum"], keepdims=0),
            node("ReduceL2", ["sum", "last"], ["norm"], keepdims=1),
            node("Max", ["norm", "tiny"], ["safe"]),
            node("Div", ["sum", "safe"], ["direction"]),
            node("Cast", ["real"], ["tokens"], to=floats),
            node("Cast", ["direction"], ["sentence"], to=floats),
        ],
        [
            value("token_ids", TensorProto.INT64, ["batch", "tokens"]),
            value("token_mask", TensorProto.BOOL, ["batch", "tokens"]),
        ],
        [
            value("tokens", floats, ["batch", "tokens", 3]),
            value("sentence", floats, ["batch", 3]),
        ],
        [
            _constant("table", table, np.float32),
            _constant("last", [-1], np.int64),
            _constant("words", [1], np.int64),
            _constant("tiny", 1e-6, np.float32),
        ],
    )


def _localizer(floats: int) -> bytes:
    """Logits are ten times the step of the cosine into and out of each frame, less five."""
    node = helper.make_node
    value = helper.make_tensor_value_info
    return _model(
        [
            node("Cast", ["features"], ["frames"], to=TensorProto.FLOAT),
            node("Cast", ["tokens"], ["words"], to=TensorProto.FLOAT),
            node("Cast", ["token_mask"], ["kept"], to=TensorProto.FLOAT),
            node("Unsqueeze", ["kept", "last"], ["column"]),
            node("Mul", ["words", "column"], ["real"]),
            node("ReduceSum", ["real", "one"], ["query"], keepdims=1),
            node("ReduceL2", ["query", "last"], ["query_norm"], keepdims=1),
            node("ReduceL2", ["frames", "last"], ["frame_norm"], keepdims=1),
            node("Mul", ["frame_norm", "query_norm"], ["norms"]),
            node("Max", ["norms", "tiny"], ["safe"]),
            node("Mul", ["frames", "query"], ["products"]),
            node("Div", ["products", "safe"], ["parts"]),
            node("ReduceSum", ["parts", "last"], ["cosine"], keepdims=0),
            node("Where", ["frame_mask", "cosine", "nothing"], ["curve"]),
            node("Pad", ["curve", "before", "nothing"], ["later"]),
            node("Pad", ["curve", "after", "nothing"], ["earlier"]),
            node("Slice", ["later", "zero", "minus_end", "one"], ["later_cut"]),
            node("Slice", ["earlier", "one", "end", "one"], ["earlier_cut"]),
            node("Sub", ["curve", "later_cut"], ["rise"]),
            node("Sub", ["curve", "earlier_cut"], ["fall"]),
            node("Mul", ["rise", "ten"], ["steep_rise"]),
            node("Mul", ["fall", "ten"], ["steep_fall"]),
            node("Sub", ["steep_rise", "five"], ["starts"]),
            node("Sub", ["steep_fall", "five"], ["ends"]),
            node("Where", ["frame_mask", "starts", "padding"], ["start_logits"]),
            node("Where", ["frame_mask", "ends", "padding"], ["end_logits"]),
            node("Transpose", ["frames"], ["turned"], perm=[0, 2, 1]),
            node("MatMul", ["real", "turned"], ["alignment"]),
        ],
        [
            value("features", floats, ["batch", "frames", 3]),
            value("frame_mask", TensorProto.BOOL, ["batch", "frames"]),
            value("tokens", floats, ["batch", "tokens", 3]),
            value("token_mask", TensorProto.BOOL, ["batch", "tokens"]),
        ],
        [
            value("start_logits", TensorProto.FLOAT, ["batch", "frames"]),
            value("end_logits", TensorProto.FLOAT, ["batch", "frames"]),
            value("alignment", TensorProto.FLOAT, ["batch", "tokens", "frames"]),
        ],
        [
            _constant("last", [-1], np.int64),
            _constant("one", [1], np.int64),
            _constant("zero", [0], np.int64),
            _constant("minus_end", [-1], np.int64),
            _constant("end", [np.iinfo(np.int64).max], np.int64),
            _constant("before", [0, 1, 0, 0], np.int64),
            _constant("after", [0, 0, 0, 1], np.int64),
            _constant("nothing", 0.0, np.float32),
            _constant("tiny", 1e-6, np.float32),
            _constant("ten", 10.0, np.float32),
            _constant("five", 5.0, np.float32),
            _constant("padding", -1e4, np.float32),
        ],
    )


def _tokenizer() -> str:
    tokenizer = Tokenizer(
        models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer.to_str()


def _entries(values: Any) -> tuple[TensorEntry, ...]:
    dtypes = {
        TensorProto.FLOAT: "float32",
        TensorProto.FLOAT16: "float16",
        TensorProto.UINT8: "uint8",
        TensorProto.INT64: "int64",
        TensorProto.BOOL: "bool",
    }
    return tuple(
        TensorEntry(
            name=value.name,
            dtype=dtypes[value.type.tensor_type.elem_type],
            shape=tuple(
                axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim
            ),
        )
        for value in values
    )


def write_colour_bundle(folder: Path, *, localizer: bool = True, **changes: Any) -> Path:
    """Write the bundle of colours; ``changes`` replace fields of its manifest.

    Without a localizer it finds moments by similarity.
    """
    folder.mkdir(parents=True, exist_ok=True)
    networks = {}
    dims = {
        "visual": {"feature": 3},
        "text": {"token": 3, "sentence": 3},
        "localizer": {"hidden": 3},
    }
    for name, build in (("visual", _visual), ("text", _text), ("localizer", _localizer)):
        if name == "localizer" and not localizer:
            continue
        variants = {}
        for precision, floats in _FLOATS.items():
            content = build(floats)
            file = f"{name}.{precision}.onnx"
            (folder / file).write_bytes(content)
            graph = onnx.load_from_string(content).graph
            variants[precision] = NetworkFile(
                file=file,
                sha256=hashlib.sha256(content).hexdigest(),
                inputs=_entries(graph.input),
                outputs=_entries(graph.output),
            )
        networks[name] = NetworkEntry(dims=dims[name], variants=variants)
    tokenizer = _tokenizer().encode()
    (folder / "tokenizer.json").write_bytes(tokenizer)
    fields: dict[str, Any] = {
        "schema": 1,
        "name": "colours",
        "networks": networks,
        "tokenizer": TokenizerEntry(
            file="tokenizer.json",
            sha256=hashlib.sha256(tokenizer).hexdigest(),
            max_tokens=MAX_TOKENS,
            pad_id=0,
        ),
        "preprocessing": Preprocessing(size=SIZE),
        "frames_per_second": 1.0,
        "routing_iterations": 3,
        "shared_space": SharedSpace(start=0, stop=3),
        "decoding": Decoding(),
        "windows": Windows(frames=64, overlap=16),
        "score_calibration": None,
        "license": "Apache-2.0",
        "provenance": Provenance(
            created_by="tests",
            visual_encoder="mean colour",
            text_encoder="lookup",
            checkpoint_sha256="0" * 64,
        ),
    }
    if not localizer:
        fields |= {
            "schema": SCHEMA_VERSION,
            "routing_iterations": 0,
            "decoding": Decoding(strategy="similarity"),
        }
    manifest = Manifest(**{**fields, **changes})
    (folder / "bundle.json").write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))
    return folder


def edit_manifest(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Rewrite a bundle's manifest after ``change`` has had its way with it."""
    path = folder / "bundle.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def write_colour_video(
    path: Path, scenes: Sequence[tuple[str, float]], *, rate: int = 8, size: int = 48
) -> Path:
    """Write a video of plain colours, each on screen for some seconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.gop_size = rate
        for colour, seconds in scenes:
            picture = np.empty((size, size, 3), dtype=np.uint8)
            picture[:] = COLOURS[colour]
            for _ in range(round(seconds * rate)):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path
