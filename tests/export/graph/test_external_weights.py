"""Graphs whose weights do not fit into one file."""

from __future__ import annotations

import hashlib
import json
import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.support import tiny_encoders
from vtloc_export import network_export
from vtloc_export.bundle_export import export_bundle
from vtloc_export.cli.main import main
from vtloc_export.graph.external_weights import LARGEST_GRAPH, write_graph
from vtloc_export.graph.polygraphy_checks import lint
from vtloc_export.options import ExportOptions
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.errors import BundleError
from vtloc_runtime.localize.localizer import Localizer
from vtloc_runtime.networks.onnxruntime_backend import OnnxRuntimeNetwork


def product(rows, columns, *, parts=1):
    """``y = x @ w0 + x @ w1 ...``, each weight of one value."""
    nodes, weights = [], []
    for part in range(parts):
        nodes.append(helper.make_node("MatMul", ["x", f"w{part}"], [f"p{part}"]))
        weight = np.full((rows, columns), part + 1, np.float32)
        weights.append(numpy_helper.from_array(weight, f"w{part}"))
    nodes.append(helper.make_node("Sum", [f"p{part}" for part in range(parts)], ["y"]))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "product",
        [value("x", TensorProto.FLOAT, ["batch", rows])],
        [value("y", TensorProto.FLOAT, ["batch", columns])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def test_a_small_graph_is_one_file(tmp_path):
    model = product(32, 32, parts=2)
    model.metadata_props.add(key="author", value="a test" * 50)
    model.functions.add().name = "unused"
    model.graph.doc_string = "doc"
    files = write_graph(model, tmp_path / "v.onnx")
    assert files.external is None
    assert files.path.read_bytes() == model.SerializeToString()
    assert (files.bytes, files.sha256) == (
        len(files.path.read_bytes()),
        hashlib.sha256(files.path.read_bytes()).hexdigest(),
    )
    assert [file.name for file in tmp_path.iterdir()] == ["v.onnx"]


def test_a_large_graph_is_two_files_and_stays_as_it_was(tmp_path):
    model = product(32, 32, parts=3)
    model.metadata_props.add(key="author", value="a test")
    model.graph.initializer.append(numpy_helper.from_array(np.ones(3, np.float32), "small"))
    before = model.SerializeToString()
    files = write_graph(model, tmp_path / "v.onnx", limit=5000)
    assert model.SerializeToString() == before
    assert files.external is not None
    assert (files.external.file, files.external.bytes) == ("v.onnx.data", 3 * 4096)
    assert files.bytes < 2000
    for path, sha256 in (
        (files.path, files.sha256),
        (tmp_path / "v.onnx.data", files.external.sha256),
    ):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    assert lint(files.path) == ()
    # Put together again, the two files are the graph.
    assert onnx.load(files.path).SerializeToString() == _as_read_back(model)
    with OnnxRuntimeNetwork("visual", files.opened()) as network:
        found = network.run({"x": np.ones((2, 32), np.float32)})["y"]
    assert found.tolist() == [[6 * 32] * 32] * 2


def _as_read_back(model):
    """The graph as ``onnx.load`` gives it: weights from another file say that they are here."""
    for tensor in model.graph.initializer:
        if len(tensor.raw_data) >= 1024:
            tensor.data_location = TensorProto.DEFAULT
    return model.SerializeToString()


def test_a_bundle_of_two_files_a_network_answers_alike(checkpoint, bundle, tmp_path, monkeypatch):
    real = write_graph
    monkeypatch.setattr(network_export, "write_graph", lambda *given: real(*given, limit=10_000))
    options = ExportOptions(precisions=("fp32",), lint=False)
    out = export_bundle(checkpoint, tmp_path / "large", options).bundle
    (entry,) = out.manifest.networks["visual"].variants["fp32"].external
    assert entry.file == "visual.fp32.onnx.data"
    content = (out.path / entry.file).read_bytes()
    assert (entry.sha256, entry.bytes) == (hashlib.sha256(content).hexdigest(), len(content))
    frames = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    found = []
    for one in (out, bundle):
        with Localizer.open(one, precision="fp32", threads=1) as localizer:
            found.append(localizer.encoder.run(frames))
    assert np.array_equal(found[0], found[1])
    (out.path / entry.file).write_bytes(b"\1" + content[1:])
    with pytest.raises(BundleError, match="altered"):
        Localizer.open(Bundle.open(out.path), precision="fp32")


@pytest.mark.slow
@pytest.mark.skipif(
    not os.environ.get("VTLOC_TEST_SLOW"), reason="VTLOC_TEST_SLOW is not set; see make test-slow"
)
def test_more_than_two_gibibytes_are_exported_and_run(tmp_path):
    """Takes 10 GB of memory and a few minutes."""
    import open_clip

    wide = {"image_size": 224, "layers": 2, "width": 4096, "head_width": 64, "patch_size": 112}
    described = {**tiny_encoders.TINY_CLIP, "vision_cfg": wide}
    (tmp_path / "wide-test-clip.json").write_text(json.dumps(described))
    open_clip.add_model_config(tmp_path)
    out = tmp_path / "wide"
    with pytest.raises(SystemExit) as left:
        main(["onnx", "open_clip:wide-test-clip", "--precision", "fp32", "--out", str(out)])
    assert left.value.code == 0
    bundle = Bundle.open(out)
    file = bundle.manifest.networks["visual"].variants["fp32"]
    (entry,) = file.external
    assert entry.bytes > LARGEST_GRAPH
    assert (out / file.file).stat().st_size < 1_000_000
    with Localizer.open(bundle, threads=1) as localizer:
        found = localizer.encoder.run(np.zeros((1, 224, 224, 3), np.uint8))
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-5)
    with (out / entry.file).open("r+b") as weights:
        weights.seek(-1, os.SEEK_END)
        weights.write(b"\1")
    with pytest.raises(BundleError, match="altered"):
        Localizer.open(Bundle.open(out))
