"""Measuring: every stage is there, rates and percentiles hang together, rooflines are bounds."""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from tests.support import small_bundle, tensorrt_double
from vtloc_export.engines.build import EngineOptions, build_engines
from vtloc_runtime.bench.measure import BenchOptions, bench
from vtloc_runtime.bench.network_cost import NetworkCost, network_cost
from vtloc_runtime.bench.report import BenchReport
from vtloc_runtime.bench.roofline import Peak, bound, cpu_peak, gpu_peak
from vtloc_runtime.bench.video import write_bench_video
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.cli.bench_tables import BEGIN, END, bench_command, markdown
from vtloc_runtime.errors import BundleError, OutputError, UsageError, VtlocError

CLIP = {"seconds": 4, "width": 160, "height": 96}
QUICK = BenchOptions(batches=(1, 3), frames=(4, 8), tokens=5, seconds=0.01)
PEAK = Peak("a machine", fp32=1e12, fp16=4e12, bandwidth=1e9, source="a test")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return small_bundle.write_small_bundle(tmp_path_factory.mktemp("bench") / "bundle")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bench_video(tmp_path_factory.mktemp("clip"), **CLIP)


@pytest.fixture(scope="module")
def report(bundle: Bundle, clip: Path) -> BenchReport:
    return bench(bundle, replace(QUICK, video=clip))


def test_a_video_is_made_where_none_is_named(bundle, monkeypatch) -> None:
    make = functools.partial(write_bench_video, **CLIP)
    monkeypatch.setattr("vtloc_runtime.bench.measure.write_bench_video", make)
    assert "made for this" in bench(bundle, replace(QUICK, batches=(1,), frames=(4,))).video


def test_every_stage_and_shape_is_measured(report: BenchReport) -> None:
    measured = [(stage.stage, stage.shape) for stage in report.stages]
    assert measured[:7] == [
        ("visual", "batch 1"),
        ("visual", "batch 3"),
        ("text", "batch 1, tokens 5"),
        ("text", "batch 3, tokens 5"),
        ("localizer", "batch 1, frames 4, tokens 5"),
        ("localizer", "batch 1, frames 8, tokens 5"),
        ("localizer", "batch 3, frames 4, tokens 5"),
    ]
    assert [stage for stage, _ in measured[7:]] == ["decode", "answer", "whole"]
    assert report.backend == "onnxruntime:cpu"
    assert report.host_bytes > 0


def test_rates_and_percentiles_hang_together(report: BenchReport) -> None:
    for stage in report.stages:
        assert stage.rate > 0
        assert stage.p50 <= stage.p90 <= stage.p99
        assert stage.runs >= 5


def test_networks_stand_beside_their_roofline(report: BenchReport) -> None:
    for stage in report.stages:
        assert (stage.roofline is not None) == (stage.stage in {"visual", "text", "localizer"})
    assert report.peak is not None
    assert report.peak.fp32 > 1e9


def test_a_report_is_plain_json(report: BenchReport) -> None:
    content = json.loads(json.dumps(report.to_json()))
    assert content["stages"][0]["stage"] == "visual"


def test_engines_are_measured_the_same_way(tmp_path: Path, clip: Path) -> None:
    bundle = small_bundle.write_small_bundle(tmp_path / "bundle")
    with tensorrt_double.installed():
        build_engines(bundle, EngineOptions("local"))
        options = BenchOptions("tensorrt", batches=(1,), frames=(4,), seconds=0.01, video=clip)
        report = bench(bundle, options)
    assert report.backend == "tensorrt:cuda:0"
    assert report.processor == "NVIDIA A100-SXM4-80GB"
    assert report.peak is not None
    assert report.peak.bandwidth == 2039e9
    assert report.device_bytes > 0
    assert "A100" in markdown(report)


@pytest.mark.parametrize(
    "options", [BenchOptions(batches=(0,)), BenchOptions(seconds=0), BenchOptions(frames=())]
)
def test_options_that_measure_nothing_are_refused(bundle, options) -> None:
    with pytest.raises(UsageError, match="must be positive"):
        bench(bundle, options)


class TestCost:
    """Operations are those of the graph's products, whatever the encoder."""

    def test_of_a_product(self, bundle) -> None:
        inputs = small_bundle.example_inputs("visual", batch=1)
        cost = network_cost(bundle, "visual", "fp32", inputs)
        side, width = small_bundle.SIDE, small_bundle.WIDTH
        assert cost.operations == 2 * (side * side * 3) * width
        assert cost.item_bytes == side * side * 3 + 4 * width
        assert cost.weight_bytes == (bundle.path / "visual.fp32.onnx").stat().st_size

    def test_grows_with_the_lengths(self, bundle) -> None:
        costs = [
            network_cost(
                bundle,
                "localizer",
                "fp32",
                small_bundle.example_inputs("localizer", batch=1, frames=frames, tokens=3),
            ).operations
            for frames in (5, 10)
        ]
        assert costs == [2 * 3 * 5 * small_bundle.WIDTH, 2 * 3 * 10 * small_bundle.WIDTH]

    def test_of_a_convolution_and_a_gemm(self, tmp_path: Path) -> None:
        import onnxruntime
        from onnx import TensorProto, helper, numpy_helper

        from vtloc_runtime.bench.network_cost import _operations

        nodes = [
            helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("Flatten", ["c"], ["f"]),
            helper.make_node("Gemm", ["f", "g"], ["y"], transB=1),
        ]
        graph = helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 5, 5])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 7])],
            [
                numpy_helper.from_array(np.ones((3, 2, 3, 3), np.float32), "w"),
                numpy_helper.from_array(np.ones((7, 75), np.float32), "g"),
            ],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        options = onnxruntime.SessionOptions()
        options.enable_profiling = True
        options.profile_file_prefix = str(tmp_path / "profile")
        level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.graph_optimization_level = level
        session = onnxruntime.InferenceSession(model.SerializeToString(), options)
        session.run(None, {"x": np.ones((1, 2, 5, 5), np.float32)})
        events = json.loads(Path(session.end_profiling()).read_text())
        assert _operations(events) == 2 * (3 * 25) * (2 * 9) + 2 * 75 * 7


class TestRoofline:
    """The bound is the larger of two times, and no rate is invented."""

    @given(st.floats(1, 1e12), st.integers(1, 10**9), st.integers(1, 10**7), st.integers(1, 512))
    def test_is_the_slower_of_computing_and_moving(self, operations, weights, item, batch) -> None:
        found = bound(NetworkCost(operations, weights, item), PEAK, precision="fp32", batch=batch)
        compute, memory = operations / 1e12, (weights / batch + item) / 1e9
        assert found.seconds == max(compute, memory)
        assert found.by == ("compute" if compute >= memory else "memory")

    def test_of_half_precision_uses_the_half_precision_peak(self) -> None:
        cost = NetworkCost(8e12, 1, 1)
        assert bound(cost, PEAK, precision="fp16", batch=1).seconds == 2
        assert bound(cost, PEAK, precision="fp32", batch=1).seconds == 8

    @pytest.mark.parametrize(
        ("name", "half", "bandwidth"),
        [
            ("NVIDIA A100-SXM4-80GB", 312e12, 2039e9),
            ("NVIDIA A100-SXM4-40GB", 312e12, 1555e9),
            ("NVIDIA A100-PCIE-40GB", 312e12, 1555e9),
            ("NVIDIA A100 80GB PCIe", 312e12, 1935e9),
            ("NVIDIA H100 80GB HBM3", 989e12, 3350e9),
            ("NVIDIA H100 PCIe", 756e12, 2000e9),
            ("NVIDIA H200", 989e12, 4800e9),
            ("NVIDIA L4", 121e12, 300e9),
            ("NVIDIA L40S", 362e12, 864e9),
            ("Tesla T4", 65e12, 320e9),
            ("NVIDIA A10", 125e12, 600e9),
        ],
    )
    def test_of_known_gpus_is_published(self, name, half, bandwidth) -> None:
        peak = gpu_peak(name)
        assert peak is not None
        assert peak.processor == name
        assert (peak.fp16, peak.bandwidth) == (half, bandwidth)
        assert "NVIDIA" in peak.source

    @pytest.mark.parametrize("name", ["NVIDIA GeForce GTX 1080", "NVIDIA A1000", "NVIDIA L400", ""])
    def test_of_unknown_gpus_is_unknown(self, name) -> None:
        assert gpu_peak(name) is None

    def test_of_a_cpu_is_measured(self) -> None:
        peak = cpu_peak("CPU", 1)
        assert peak.fp32 > 1e8
        assert peak.bandwidth > 1e8


class TestCommand:
    """``vtloc-run bench``."""

    @pytest.fixture(autouse=True)
    def _short_clip(self, clip: Path) -> None:
        self.clip = clip

    def run(self, *arguments: object) -> str:
        app = typer.Typer()
        app.command()(bench_command)
        quick = ["--batch=1", "--frames=4", "--seconds=0.01", f"--video={self.clip}"]
        result = CliRunner().invoke(app, [str(argument) for argument in (*arguments, *quick)])
        if isinstance(result.exception, VtlocError):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.output

    def test_shows_a_table_and_writes_json(self, bundle, tmp_path) -> None:
        out = tmp_path / "report.json"
        shown = self.run("--bundle", bundle.path, "--out", out)
        assert "visual" in shown
        assert json.loads(out.read_text())["backend"] == "onnxruntime:cpu"

    def test_fills_the_place_in_a_document_and_nothing_else(self, bundle, tmp_path) -> None:
        document = tmp_path / "page.md"
        document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
        self.run("--bundle", bundle.path, "--table", document)
        text = document.read_text()
        assert text.startswith(f"before\n{BEGIN}\n**small: onnxruntime:cpu")
        assert text.endswith(f"{END}\nafter\n")
        assert "| visual | batch 1 |" in text
        assert "old" not in text

    def test_refuses_a_document_without_a_place(self, bundle, tmp_path) -> None:
        document = tmp_path / "page.md"
        document.write_text("no marks here")
        with pytest.raises(UsageError, match="no place for the table"):
            self.run("--bundle", bundle.path, "--table", document)

    def test_refuses_a_document_that_is_missing(self, bundle, tmp_path) -> None:
        with pytest.raises(OutputError, match="cannot read"):
            self.run("--bundle", bundle.path, "--table", tmp_path / "missing.md")

    @pytest.mark.parametrize("text", ["", "a", "1,,2", "0", "-1"])
    def test_refuses_what_is_no_list_of_numbers(self, bundle, text) -> None:
        with pytest.raises(UsageError, match="--batch"):
            bench_command(bundle.path, batch=text)

    def test_ends_in_one_line_and_an_exit_code(self, tmp_path, capsys) -> None:
        from vtloc_runtime.cli import main as cli

        with pytest.raises(SystemExit) as left:
            cli.main(["bench", "-b", str(tmp_path / "no-bundle")])
        captured = capsys.readouterr()
        assert left.value.code == BundleError.exit_code
        assert "there is no such bundle" in captured.err
        assert "Traceback" not in captured.err


def test_a_report_replaces_only_a_report(
    colour_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vtloc_runtime.cli import main as cli

    monkeypatch.setattr(
        "vtloc_runtime.cli.bench_tables.bench", lambda *_, **__: pytest.fail("it was measured")
    )
    mine = tmp_path / "mine.json"
    mine.write_text('{"video": "a.mp4"}\n')
    for out in (mine, colour_bundle / "bundle.json"):
        before = out.read_bytes()
        with pytest.raises(SystemExit) as left:
            cli.main(["bench", "-b", str(colour_bundle), "--out", str(out)])
        assert left.value.code == 8
        assert out.read_bytes() == before
