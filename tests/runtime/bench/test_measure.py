"""Measuring: every stage is there, and rates and percentiles agree."""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.support import small_bundle, tensorrt_double
from vtloc_export.engines.build import EngineOptions, build_engines
from vtloc_runtime.bench.measure import BenchOptions, measure
from vtloc_runtime.bench.report import BenchReport
from vtloc_runtime.bench.video import write_bench_video
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.cli.bench import app
from vtloc_runtime.errors import BundleError, UsageError

CLIP: dict[str, Any] = {"seconds": 4, "width": 160, "height": 96}
QUICK = BenchOptions(batches=(1, 3), frames=(4, 8), tokens=5, seconds=0.01)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return small_bundle.write_small_bundle(tmp_path_factory.mktemp("bench") / "bundle")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bench_video(tmp_path_factory.mktemp("clip"), **CLIP)


@pytest.fixture(scope="module")
def report(bundle: Bundle, clip: Path) -> BenchReport:
    return measure(bundle, replace(QUICK, video=clip))


def test_a_video_is_made_where_none_is_named(bundle, monkeypatch) -> None:
    make = functools.partial(write_bench_video, **CLIP)
    monkeypatch.setattr("vtloc_runtime.bench.measure.write_bench_video", make)
    assert "made for this" in measure(bundle, replace(QUICK, batches=(1,), frames=(4,))).video


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


def test_a_report_is_plain_json(report: BenchReport) -> None:
    content = json.loads(json.dumps(report.to_json()))
    assert content["stages"][0]["stage"] == "visual"


def test_engines_are_measured_the_same_way(tmp_path: Path, clip: Path) -> None:
    bundle = small_bundle.write_small_bundle(tmp_path / "bundle")
    with tensorrt_double.installed():
        build_engines(bundle, EngineOptions("local"))
        options = BenchOptions("tensorrt", batches=(1,), frames=(4,), seconds=0.01, video=clip)
        report = measure(bundle, options)
    assert report.backend == "tensorrt:cuda:0"
    assert report.processor == "NVIDIA A100-SXM4-80GB"
    assert report.device_bytes > 0
    assert "A100" in report.title


@pytest.mark.parametrize(
    "options", [BenchOptions(batches=(0,)), BenchOptions(seconds=0), BenchOptions(frames=())]
)
def test_options_that_measure_nothing_are_refused(bundle, options) -> None:
    with pytest.raises(UsageError, match="must be positive"):
        measure(bundle, options)


class TestCommand:
    """``vtloc-run bench``."""

    @pytest.fixture(autouse=True)
    def _short_clip(self, clip: Path) -> None:
        self.clip = clip

    def run(self, *arguments: object) -> Result:
        quick = ["--batch=1", "--frames=4", "--seconds=0.01", f"--video={self.clip}"]
        return CliRunner().invoke(app, [*quick, *map(str, arguments)])

    def test_shows_a_table_and_writes_json(self, bundle, tmp_path) -> None:
        out = tmp_path / "report.json"
        result = self.run("--bundle", bundle.path, "--out", out)
        assert result.exit_code == 0, result.output
        assert "visual" in result.output
        assert json.loads(out.read_text())["backend"] == "onnxruntime:cpu"

    @pytest.mark.parametrize("text", ["", "a", "1,,2", "0", "-1"])
    def test_refuses_what_is_not_a_list_of_numbers(self, bundle, text) -> None:
        result = self.run("--bundle", bundle.path, f"--batch={text}")
        assert isinstance(result.exception, UsageError)
        assert "--batch" in str(result.exception)

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
        "vtloc_runtime.bench.measure.measure", lambda *_, **__: pytest.fail("it was measured")
    )
    mine = tmp_path / "mine.json"
    mine.write_text('{"video": "a.mp4"}\n')
    for out in (mine, colour_bundle / "bundle.json"):
        before = out.read_bytes()
        with pytest.raises(SystemExit) as left:
            cli.main(["bench", "-b", str(colour_bundle), "--out", str(out)])
        assert left.value.code == 8
        assert out.read_bytes() == before
