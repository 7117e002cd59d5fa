"""INT8 with ranges that are measured as it runs: what is lowered, and what comes out."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.support.quantizable import COLUMNS, ROWS, convolutional, frames, looking_up, model_of
from vtloc_calibration.quantize.dynamic import DynamicWriter, dynamic_candidates
from vtloc_calibration.quantize.onnx_graph import load_graph
from vtloc_export.parity.comparison import onnxruntime_evaluate
from vtloc_runtime.bundle.onnx_file import OnnxFile
from vtloc_runtime.networks.onnxruntime_backend import session_options

IDS = {"token_ids": np.random.default_rng(0).integers(0, ROWS, (3, 7))}


def loaded(model: onnx.ModelProto) -> onnx.ModelProto:
    return load_graph(model.SerializeToString())


def lowered(model: onnx.ModelProto) -> onnx.ModelProto:
    small = DynamicWriter(model).write(dynamic_candidates(model))
    onnx.checker.check_model(small, full_check=True)
    return small


def relative_l2(one: onnx.ModelProto, other: onnx.ModelProto, inputs: dict[str, Any]) -> float:
    found, true = (
        next(iter(onnxruntime_evaluate(model.SerializeToString())(inputs).values())).astype(float)
        for model in (one, other)
    )
    return float(np.linalg.norm(found - true) / np.linalg.norm(true))


def operators(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def linear(*, inputs: int = 16, **attributes: Any) -> onnx.ModelProto:
    """Two layers that share a weight, once turned, and a third that reads what the first reads."""
    random = np.random.default_rng(2)
    node = helper.make_node
    return model_of(
        [
            node("Gemm", ["x", "tied.weight", "first.bias"], ["y"], transB=1, **attributes),
            node("Gemm", ["y", "tied.weight"], ["z"]),
            node("MatMul", ["x", "third.weight"], ["w"]),
            node("Add", ["z", "w"], ["features"]),
        ],
        [("x", TensorProto.FLOAT, ["batch", inputs])],
        [("features", TensorProto.FLOAT, ["batch", inputs])],
        {
            "tied.weight": random.normal(0, 0.3, (24, inputs)).astype(np.float32),
            "first.bias": random.normal(0, 1, 24).astype(np.float32),
            "third.weight": random.normal(0, 0.3, (inputs, inputs)).astype(np.float32),
        },
    )


X = {"x": np.random.default_rng(1).normal(0, 1, (9, 16)).astype(np.float32)}


def test_products_with_weights_are_lowered_and_those_of_activations_are_not() -> None:
    model = loaded(looking_up())
    small = lowered(model)
    assert operators(small)["MatMulInteger"] == 1
    assert operators(small)["MatMul"] == 1
    assert relative_l2(small, model, IDS) < 0.02


def test_only_the_rows_of_a_table_that_are_looked_up_are_widened() -> None:
    small = lowered(loaded(looking_up()))
    assert not operators(small)["DequantizeLinear"]
    tables = [one for one in small.graph.initializer if list(one.dims) == [ROWS, COLUMNS]]
    assert [one.data_type for one in tables] == [TensorProto.INT8]


def test_layers_with_a_bias_a_turned_weight_or_a_shared_one_are_right() -> None:
    model = loaded(linear())
    small = lowered(model)
    assert operators(small) == {
        "DynamicQuantizeLinear": 2, "MatMulInteger": 3, "Cast": 3, "Mul": 6, "Add": 2,
    }  # fmt: skip
    assert relative_l2(small, model, X) < 0.02


def test_a_scaled_product_stays_as_it_is() -> None:
    model = loaded(linear(alpha=0.5))
    assert len(dynamic_candidates(model)) == 2
    assert relative_l2(lowered(model), model, X) < 0.02


def test_convolutions_stay_as_they_are() -> None:
    model = loaded(convolutional())
    small = lowered(model)
    assert operators(small)["Conv"] == 2
    assert operators(small)["MatMulInteger"] == 1
    assert relative_l2(small, model, {"frames": frames(16)}) < 0.02


def test_only_the_chosen_nodes_are_lowered_whatever_was_written_before() -> None:
    model = loaded(linear())
    before = model.SerializeToString()
    writer = DynamicWriter(model)
    nodes = dynamic_candidates(model)
    writer.write(nodes)
    assert writer.write(()).SerializeToString() == before
    one = writer.write(nodes[:1])
    assert one.SerializeToString() == writer.write(nodes[:1]).SerializeToString()
    assert operators(one)["MatMulInteger"] == 1
    wide = {item.name for item in one.graph.initializer if item.data_type == TensorProto.FLOAT}
    # The second layer still reads the weight that it shares with the first.
    assert {"tied.weight", "third.weight"} <= wide
    assert model.SerializeToString() == before


def test_the_same_numbers_come_out_as_of_onnx_runtimes_own_quantizer(tmp_path: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = loaded(linear())
    onnx.save(model, tmp_path / "source.onnx")
    quantize_dynamic(
        tmp_path / "source.onnx",
        tmp_path / "theirs.onnx",
        per_channel=True,
        weight_type=QuantType.QInt8,
        extra_options={"WeightSymmetric": True},
    )
    assert relative_l2(lowered(model), onnx.load(tmp_path / "theirs.onnx"), X) < 5e-3


def test_without_int8_instructions_products_are_kept_from_overflowing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small = lowered(loaded(linear())).SerializeToString()

    def features(*instructions: str) -> tuple[bool, np.ndarray]:
        monkeypatch.setattr(
            "vtloc_runtime.networks.onnxruntime_backend.processor_instructions",
            lambda: instructions,
        )
        return is_kept(small), onnxruntime_evaluate(small)(X)["features"]

    with_them, without = features("avx2", "avx_vnni"), features("avx2", "avx512f")
    assert (with_them[0], without[0]) == (False, True)
    assert np.array_equal(with_them[1], without[1])


def is_kept(content: bytes) -> bool:
    options = session_options(OnnxFile(content))
    try:
        return bool(options.get_session_config_entry("session.x64quantprecision") == "1")
    except RuntimeError:
        return False
