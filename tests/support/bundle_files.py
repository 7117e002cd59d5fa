"""Writing a bundle of small networks: graphs, files, and the manifest that names them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import onnx
from onnx import TensorProto, helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from vtloc_runtime.bundle.manifest import (
    MANIFEST_NAME,
    SCHEMA_VERSION,
    Decoding,
    Manifest,
    NetworkEntry,
    NetworkFile,
    NetworkName,
    Provenance,
    TensorEntry,
    TokenizerEntry,
)

Values = Sequence[tuple[str, int, list[int | str]]]
"""Name, type and shape of a graph's inputs or outputs."""
_FLOATS = {"fp32": TensorProto.FLOAT, "fp16": TensorProto.FLOAT16}
_DTYPES = {
    TensorProto.FLOAT: "float32",
    TensorProto.FLOAT16: "float16",
    TensorProto.UINT8: "uint8",
    TensorProto.INT64: "int64",
    TensorProto.BOOL: "bool",
}


def make_model(
    nodes: list[onnx.NodeProto], inputs: Values, outputs: Values, weights: list[onnx.TensorProto]
) -> onnx.ModelProto:
    """A checked model of one graph."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "graph", [value(*one) for one in inputs], [value(*one) for one in outputs], weights
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


def make_tokenizer(words: Sequence[str]) -> Tokenizer:
    """A tokenizer that knows these words, ``[UNK]`` among them, by their places."""
    vocabulary = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def write_bundle(
    folder: Path,
    networks: Mapping[NetworkName, Callable[[int], onnx.ModelProto]],
    dims: Mapping[NetworkName, dict[str, int]],
    tokenizer: Tokenizer,
    *,
    max_tokens: int,
    **fields: Any,
) -> Path:
    """Write a bundle in FP32 and FP16.

    Args:
        folder: Where.
        networks: What makes each network, given the type of its floats.
        dims: The widths of each.
        tokenizer: The tokenizer; its padding token is its first.
        max_tokens: How many tokens of a sentence are kept.
        fields: Other fields of the manifest, in place of the usual ones.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    words = tokenizer.to_str().encode()
    (folder / "tokenizer.json").write_bytes(words)
    usual: dict[str, Any] = {
        "schema": SCHEMA_VERSION,
        "frames_per_second": 1.0,
        "routing_iterations": 3,
        "shared_space": None,
        "decoding": Decoding(),
        "score_calibration": None,
        "license": "Apache-2.0",
        "provenance": Provenance(
            created_by="tests", visual_encoder="", text_encoder="", checkpoint_sha256="0" * 64
        ),
    }
    manifest = Manifest(
        **{**usual, **fields},
        networks={
            name: NetworkEntry(
                dims=dims[name],
                variants={
                    precision: _write(folder / f"{name}.{precision}.onnx", make(floats))
                    for precision, floats in _FLOATS.items()
                },
            )
            for name, make in networks.items()
        },
        tokenizer=TokenizerEntry(
            file="tokenizer.json",
            sha256=hashlib.sha256(words).hexdigest(),
            max_tokens=max_tokens,
            pad_id=0,
        ),
    )
    (folder / MANIFEST_NAME).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))
    return folder


def _write(path: Path, model: onnx.ModelProto) -> NetworkFile:
    content = model.SerializeToString()
    path.write_bytes(content)
    return NetworkFile(
        file=path.name,
        sha256=hashlib.sha256(content).hexdigest(),
        inputs=tuple(_entry(value) for value in model.graph.input),
        outputs=tuple(_entry(value) for value in model.graph.output),
    )


def _entry(value: onnx.ValueInfoProto) -> TensorEntry:
    tensor = value.type.tensor_type
    return TensorEntry(
        name=value.name,
        dtype=_DTYPES[TensorProto.DataType.ValueType(tensor.elem_type)],
        shape=tuple(dim.dim_param or dim.dim_value for dim in tensor.shape.dim),
    )
