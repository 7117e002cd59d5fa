"""A bundle small enough to reason about: frames are their mean colours, words name colours.

The visual network gives each frame's mean colour around grey, the text network looks words up in
the same three numbers, and the localizer marks where the cosine of the two rises and falls.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, processors

from tests.support.bundle_files import make_model, make_tokenizer, write_bundle
from vtloc_runtime.bundle.manifest import (
    SCHEMA_VERSION,
    Decoding,
    NetworkName,
    Preprocessing,
    Provenance,
    SharedSpace,
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


def _constant(name: str, value: Any, dtype: Any) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(value, dtype=dtype), name)


def _visual(floats: int) -> onnx.ModelProto:
    node = helper.make_node
    return make_model(
        [
            node("Cast", ["frames"], ["wide"], to=TensorProto.FLOAT),
            node("ReduceMean", ["wide", "axes"], ["mean"], keepdims=0),
            node("Div", ["mean", "scale"], ["unit"]),
            node("Sub", ["unit", "grey"], ["colour"]),
            node("Cast", ["colour"], ["features"], to=floats),
        ],
        [("frames", TensorProto.UINT8, ["batch", SIZE, SIZE, 3])],
        [("features", floats, ["batch", 3])],
        [
            _constant("axes", [1, 2], np.int64),
            _constant("scale", 255.0, np.float32),
            _constant("grey", 0.5, np.float32),
        ],
    )


def _text(floats: int) -> onnx.ModelProto:
    table = np.zeros((len(WORDS), 3))
    for word, colour in COLOURS.items():
        table[WORDS.index(word)] = np.array(colour) / 255 - 0.5
    node = helper.make_node
    return make_model(
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
            ("token_ids", TensorProto.INT64, ["batch", "tokens"]),
            ("token_mask", TensorProto.BOOL, ["batch", "tokens"]),
        ],
        [
            ("tokens", floats, ["batch", "tokens", 3]),
            ("sentence", floats, ["batch", 3]),
        ],
        [
            _constant("table", table, np.float32),
            _constant("last", [-1], np.int64),
            _constant("words", [1], np.int64),
            _constant("tiny", 1e-6, np.float32),
        ],
    )


def _localizer(floats: int) -> onnx.ModelProto:
    """Logits are ten times the step of the cosine into and out of each frame, less five."""
    node = helper.make_node
    return make_model(
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
            ("features", floats, ["batch", "frames", 3]),
            ("frame_mask", TensorProto.BOOL, ["batch", "frames"]),
            ("tokens", floats, ["batch", "tokens", 3]),
            ("token_mask", TensorProto.BOOL, ["batch", "tokens"]),
        ],
        [
            ("start_logits", TensorProto.FLOAT, ["batch", "frames"]),
            ("end_logits", TensorProto.FLOAT, ["batch", "frames"]),
            ("alignment", TensorProto.FLOAT, ["batch", "tokens", "frames"]),
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


def _tokenizer() -> Tokenizer:
    tokenizer = make_tokenizer(WORDS)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def write_colour_bundle(folder: Path, *, localizer: bool = True, **changes: Any) -> Path:
    """Write the bundle of colours; ``changes`` replace fields of its manifest.

    Without a localizer it finds moments by similarity.
    """
    fields: dict[str, Any] = {
        "schema": 1,
        "name": "colours",
        "preprocessing": Preprocessing(size=SIZE),
        "shared_space": SharedSpace(start=0, stop=3),
        "windows": Windows(frames=64, overlap=16),
        "provenance": Provenance(
            created_by="tests",
            visual_encoder="mean colour",
            text_encoder="lookup",
            checkpoint_sha256="0" * 64,
        ),
    }
    networks: dict[NetworkName, Callable[[int], onnx.ModelProto]] = {
        "visual": _visual,
        "text": _text,
        "localizer": _localizer,
    }
    if not localizer:
        del networks["localizer"]
        fields |= {
            "schema": SCHEMA_VERSION,
            "routing_iterations": 0,
            "decoding": Decoding(strategy="similarity"),
        }
    return write_bundle(
        folder,
        networks,
        {
            "visual": {"feature": 3},
            "text": {"token": 3, "sentence": 3},
            "localizer": {"hidden": 3},
        },
        _tokenizer(),
        max_tokens=MAX_TOKENS,
        **{**fields, **changes},
    )


def edit_manifest(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Rewrite a bundle's manifest after ``change`` has had its way with it."""
    path = folder / "bundle.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def write_colour_video(
    path: Path,
    scenes: Sequence[tuple[str, float]],
    *,
    rate: int = 1,
    size: int = 48,
    group: float = 1,
    scene_keyframes: bool = True,
) -> Path:
    """Write a video of plain colours, each on screen for some seconds.

    Args:
        path: Where it goes; its ending names the container.
        scenes: Colours, and how many seconds each.
        rate: Pictures a second; at one, colours that change on whole seconds are found exactly.
        size: Pixels of a side.
        group: Seconds between keyframes at most.
        scene_keyframes: Whether a scene may begin with a keyframe ahead of its turn.
    """
    with av.open(str(path), "w") as container:
        options = {} if scene_keyframes else {"sc_threshold": "1000000000"}
        stream = container.add_stream("mpeg4", rate=rate, options=options)
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.gop_size = round(group * rate)
        for colour, seconds in scenes:
            picture = np.empty((size, size, 3), dtype=np.uint8)
            picture[:] = COLOURS[colour]
            for _ in range(round(seconds * rate)):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path
