"""The roofline: counted operations, published peaks, and the table in a document."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.roofline.network_cost import NetworkCost, network_cost
from benchmarks.roofline.peaks import Peak, bound, cpu_peak, gpu_peak
from benchmarks.roofline.table import BEGIN, END, markdown, put_table
from tests.support import small_bundle
from vtloc_runtime.bench.report import BenchReport, RunShape, StageResult
from vtloc_runtime.bundle.bundle import Bundle

PEAK = Peak("a machine", fp32=1e12, fp16=4e12, bandwidth=1e9, source="a test")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return small_bundle.write_small_bundle(tmp_path_factory.mktemp("roofline") / "bundle")


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

        from benchmarks.roofline.network_cost import _operations

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


def test_the_table_says_which_share_of_the_roofline_is_reached(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.roofline.table.gpu_peak", lambda _: PEAK)
    cost = network_cost(bundle, "visual", "fp32", small_bundle.example_inputs("visual", batch=1))
    limit = bound(cost, PEAK, precision="fp32", batch=4)
    half = StageResult.summarize(
        "visual",
        "batch 4",
        "frame",
        [0.1],
        rate=0.5 / limit.seconds,
        precision="fp32",
        run_shape=RunShape(4),
    )
    whole = StageResult.summarize("whole", "4 frames", "video s", [0.1], rate=2.0)
    report = BenchReport(
        "small", "tensorrt:cuda:0", "fp32", "a GPU", 1, (half, whole), 10**6, 0, "clip.mp4"
    )
    rows = markdown(bundle, report).splitlines()
    assert rows[0] == "**small: tensorrt:cuda:0 fp32 on a GPU**"
    assert f"| 50% of {1 / limit.seconds:,.0f} mem |" in rows[4]
    assert rows[5].endswith("|  |")


def test_the_table_fills_its_place_in_a_document_and_nothing_else() -> None:
    document = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert put_table(document, "new") == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
