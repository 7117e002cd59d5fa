"""``vtloc-export verify`` compares engines, too, with PyTorch; a GPU's double runs them."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import numpy_helper

from tests.support import tensorrt_double
from vtloc_export.engines.builder import Plan, PlanRequest
from vtloc_export.engines.target import EngineBuilder

torch = pytest.importorskip("torch", reason="the reference is PyTorch")
from tests.support import tiny_encoders  # noqa: E402 - skips first
from tests.support.tiny_checkpoint import write_tiny_checkpoint  # noqa: E402
from vtloc_export.bundle_export import export_bundle  # noqa: E402
from vtloc_export.cli.main import main  # noqa: E402
from vtloc_export.engines import builder as engine_build  # noqa: E402
from vtloc_export.engines.build import EngineOptions, build_engines  # noqa: E402
from vtloc_export.engines.profiles import parse_traffic  # noqa: E402
from vtloc_export.options import ExportOptions  # noqa: E402
from vtloc_export.parity.verification import verify_bundle  # noqa: E402
from vtloc_runtime.bench.video import write_bench_video  # noqa: E402
from vtloc_runtime.bundle.bundle import Bundle  # noqa: E402

TRAFFIC = "batch=1:4:8,frames=1:16:64,tokens=1:8:{tokens}"
NETWORKS = ("visual", "text", "localizer")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of tiny networks in FP32 and FP16."""
    clip = tiny_encoders.register_tiny_clip(tmp_path_factory.mktemp("clip"))
    bert = tiny_encoders.write_tiny_bert(tmp_path_factory.mktemp("bert"))
    folder = tmp_path_factory.mktemp("parity")
    checkpoint = write_tiny_checkpoint(
        folder / "tiny.safetensors", visual_encoder=f"open_clip:{clip}", text_encoder=f"hf:{bert}"
    )
    options = ExportOptions(precisions=("fp32", "fp16"), lint=False)
    return export_bundle(checkpoint, folder / "bundle", options).bundle


@pytest.fixture
def gpu() -> Iterator[tensorrt_double.Gpu]:
    with tensorrt_double.installed() as machine:
        yield machine


@pytest.fixture
def built(exported: Bundle, tmp_path: Path, gpu: tensorrt_double.Gpu) -> Bundle:
    """The bundle with its engines, both precisions of all three networks."""
    folder = tmp_path / "bundle"
    shutil.copytree(exported.path, folder)
    bundle = Bundle.open(folder)
    for precision in ("fp32", "fp16"):
        build_engines(bundle, engine_options(bundle, precision))
    return bundle


def engine_options(bundle: Bundle, precision: str, **more: Any) -> EngineOptions:
    longest = bundle.manifest.tokenizer.max_tokens
    traffic = (parse_traffic(TRAFFIC.format(tokens=longest), {}),)
    return EngineOptions(target="sm80", precision=precision, traffic=traffic, **more)


def test_every_variant_and_backend_that_is_there_is_verified(built: Bundle, gpu) -> None:
    report = verify_bundle(built.path)
    by_engine = [item for item in report.tensors if item.arithmetic == "tensorrt:cuda:0"]
    assert {(item.network, item.precision) for item in by_engine} == {
        (network, precision) for network in NETWORKS for precision in ("fp32", "fp16")
    }
    assert [item.broken for item in report.tensors] == [None] * 12
    assert all(output.probes >= 2 for item in by_engine for output in item.outputs)
    assert {(chain.backend, chain.precision) for chain in report.answers} == {
        (backend, precision)
        for backend in ("onnxruntime", "tensorrt")
        for precision in ("fp32", "fp16")
    }
    exact = [chain for chain in report.answers if chain.precision == "fp32"]
    assert [(chain.same, chain.broken) for chain in exact] == [(1.0, None)] * 2
    assert report.unverified == ()
    assert gpu.leaks() == {}


def test_labels_show_the_task_s_drift_on_engines(built: Bundle, tmp_path: Path) -> None:
    write_bench_video(tmp_path, seconds=12, width=96, height=64).rename(tmp_path / "street.mp4")
    rows = [
        {"id": str(n), "video": "street", "duration": 12, "query": query, "moments": [[2, 7]]}
        for n, query in enumerate(["a dog runs", "a person opens the door"])
    ]
    labels = tmp_path / "labels.jsonl"
    labels.write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = verify_bundle(built.path, data=labels)
    drifts = {
        (chain.backend, chain.precision): chain.drift["mIoU"]
        for chain in report.answers
        if chain.precision == "fp32"
    }
    assert drifts == pytest.approx({("onnxruntime", "fp32"): 0.0, ("tensorrt", "fp32"): 0.0})
    assert {chain.queries for chain in report.answers} == {2}


def test_a_broken_engine_is_exit_code_one(built: Bundle, monkeypatch, capsys) -> None:
    """The plan answers to its hash and its ONNX file, and computes something else."""
    original = engine_build.build_plan

    def otherwise(builder: EngineBuilder, request: PlanRequest, **more: Any) -> Plan:
        model = onnx.load_from_string(request.model)
        weights = next(item for item in model.graph.initializer if item.name == "head.output.bias")
        moved = numpy_helper.to_array(weights) + 2
        weights.CopyFrom(numpy_helper.from_array(moved, weights.name))
        changed = dataclasses.replace(request, model=model.SerializeToString())
        return original(builder, changed, **more)

    monkeypatch.setattr("vtloc_export.engines.build.build_plan", otherwise)
    build_engines(built, engine_options(built, "fp32", networks=("localizer",), force=True))
    with pytest.raises(SystemExit) as left:
        main(["verify", str(built.path), "--json"])
    assert left.value.code == 1
    printed = capsys.readouterr()
    report = json.loads(printed.out)
    broken = [item for item in report["tensors"] if item["broken"]]
    assert [(item["network"], item["precision"], item["arithmetic"]) for item in broken] == [
        ("localizer", "fp32", "tensorrt:cuda:0")
    ]
    assert "localizer in fp32" in printed.err


def test_engines_for_another_gpu_are_named_as_not_verified(built: Bundle) -> None:
    other = tensorrt_double.Gpu(name="NVIDIA H100 80GB HBM3", capability=(9, 0))
    with tensorrt_double.installed(other):
        report = verify_bundle(built.path)
    assert len(report.tensors) == 6
    assert len(report.unverified) == 8
    assert all("TensorRT" in reason or "tensorrt" in reason for reason in report.unverified)


def test_bounds_are_the_bundle_s_own(built: Bundle) -> None:
    manifest = json.loads((built.path / "bundle.json").read_text())
    bounds = manifest["provenance"]["bounds"]
    assert bounds["fp16"]["same"] == 0.99
    bounds["fp16"] |= {"relative_l2": 0.0, "same": 0.0, "iou": 0.0, "drift": 100.0}
    (built.path / "bundle.json").write_text(json.dumps(manifest))
    report = verify_bundle(built.path)
    half = [item for item in report.tensors if item.precision == "fp16"]
    assert len(half) == 6
    assert all("relative L2" in (item.broken or "") for item in half)
    assert [chain.broken for chain in report.answers if chain.precision == "fp16"] == [None] * 2
