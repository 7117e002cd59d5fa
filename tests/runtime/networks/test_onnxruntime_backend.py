"""Networks on ONNX Runtime: the contract, and no silent fallback."""

from __future__ import annotations

import sys
import threading
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.colours import SIZE, edit_manifest
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.bundle.onnx_file import OnnxFile
from vtloc_runtime.errors import BackendError, BundleError, MissingExtraError, NetworkError
from vtloc_runtime.networks import onnxruntime_backend as backend
from vtloc_runtime.networks.onnxruntime_backend import (
    TF32_VARIABLE,
    OnnxRuntimeNetwork,
    load_onnxruntime,
)


def grey(count: int, level: int = 255) -> np.ndarray:
    return np.full((count, SIZE, SIZE, 3), level, dtype=np.uint8)


def test_a_network_knows_its_tensors_before_it_runs(colour_bundle: Path) -> None:
    with load_onnxruntime(Bundle.open(colour_bundle), "visual", "fp16") as network:
        assert network.name == "visual"
        assert network.backend == "onnxruntime:cpu"
        assert network.inputs["frames"].dtype == "uint8"
        assert network.inputs["frames"].shape == ("batch", SIZE, SIZE, 3)
        assert network.outputs["features"].dtype == "float16"


def test_it_computes(colour_bundle: Path) -> None:
    with load_onnxruntime(Bundle.open(colour_bundle), "visual", "fp32") as network:
        features = network.run({"frames": grey(2)})["features"]
    assert features.tolist() == [[0.5] * 3] * 2


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_number_of_shapes(colour_bundle: Path) -> None:
    def held() -> float:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.partition("RssAnon:")[2].split()[0]) / 1024

    chance, size = np.random.default_rng(0), 0
    marks = []
    with load_onnxruntime(Bundle.open(colour_bundle), "visual", "fp32", threads=1) as network:
        for _ in range(3):
            # Every shape is another, up to the same largest.
            for count in (*chance.permutation(200)[:60], 200):
                pictures = grey(int(count) + 1)
                size = max(size, 4 * pictures.nbytes)
                network.run({"frames": pictures})
            marks.append(held())
    assert marks[2] - marks[1] < size / 2**20


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "missing"),
        ({"frames": grey(1), "more": grey(1)}, "unknown"),
        ({"frames": grey(1).astype(np.float32)}, "dtype"),
        ({"frames": grey(1)[0]}, "shape"),
        ({"frames": grey(1)[:, 1:]}, "shape"),
        ({"frames": grey(0)}, "batch"),
    ],
)
def test_inputs_of_another_kind_are_refused(
    colour_bundle: Path, inputs: dict[str, Any], message: str
) -> None:
    with (
        load_onnxruntime(Bundle.open(colour_bundle), "visual", "fp32") as network,
        pytest.raises(NetworkError, match=message),
    ):
        network.run(inputs)


def test_several_threads_get_their_own_answers(colour_bundle: Path) -> None:
    found: dict[int, float] = {}
    with load_onnxruntime(Bundle.open(colour_bundle), "visual", "fp32", threads=1) as network:

        def work(level: int) -> None:
            for _ in range(20):
                result = network.run({"frames": grey(1, level)})["features"]
                found[level] = float(result[0, 0])

        threads = [threading.Thread(target=work, args=(level,)) for level in (0, 51, 102, 255)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == pytest.approx({0: -0.5, 51: -0.3, 102: -0.1, 255: 0.5})


def test_a_closed_network_says_so(colour_bundle: Path) -> None:
    network = load_onnxruntime(Bundle.open(colour_bundle), "visual", "fp32")
    network.close()
    network.close()
    with pytest.raises(NetworkError, match="closed"):
        network.run({"frames": grey(1)})


def test_a_device_that_this_build_cannot_serve_is_refused(
    colour_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(BackendError, match="no CUDA") as caught:
        load_onnxruntime(Bundle.open(colour_bundle), "visual", "fp32", "cuda:0")
    assert "[gpu-cu13]" in str(caught.value)


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "cpu:0", ""])
def test_an_unknown_device_is_refused(colour_bundle: Path, device: str) -> None:
    with pytest.raises(BackendError, match="unknown"):
        load_onnxruntime(Bundle.open(colour_bundle), "visual", "fp32", device)


def test_a_provider_that_falls_back_is_refused(
    colour_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    real = onnxruntime.InferenceSession

    class Fallen:
        """A session that offers CUDA and gives the CPU, as a driver too old makes it do."""

        def __init__(
            self, content: bytes, options: Any, *, providers: list[Any], enable_fallback: int
        ) -> None:
            assert not enable_fallback
            self._session = real(content, options, providers=["CPUExecutionProvider"])

        def __getattr__(self, name: str) -> Any:
            return getattr(self._session, name)

    monkeypatch.setattr(
        onnxruntime,
        "get_available_providers",
        lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"],
    )
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None)
    monkeypatch.setattr(onnxruntime, "InferenceSession", Fallen)
    with pytest.raises(BackendError, match="asked for CUDAExecutionProvider"):
        load_onnxruntime(Bundle.open(colour_bundle), "visual", "fp32", "cuda")


def test_the_files_bytes_are_not_kept_beside_the_weights(colour_bundle: Path) -> None:
    bundle = Bundle.open(colour_bundle)
    variant = bundle.variant("visual", "fp32")
    file = OnnxFile(bundle.read(variant.file, variant.sha256))
    before = sys.getrefcount(file.content)
    with OnnxRuntimeNetwork("visual", file):
        opened = sys.getrefcount(file.content)
    assert opened == before


def test_a_session_that_cannot_start_says_nothing_on_standard_output(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(BundleError, match="cannot load"):
        OnnxRuntimeNetwork("visual", broken_graph())
    # Standard output is for results; ONNX Runtime would try again, and print that.
    assert capfd.readouterr().out == ""


def broken_graph() -> bytes:
    """A valid file whose one node gives another type than the graph says."""
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.INT64)],
        "broken",
        [value("x", TensorProto.FLOAT, [1])],
        [value("y", TensorProto.FLOAT, [1])],
    )
    opsets = [helper.make_opsetid("", 18)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()


def test_a_graph_that_fusions_break_runs_without_them(capfd: pytest.CaptureFixture[str]) -> None:
    frames = np.random.default_rng(0).standard_normal((2, 8, 2, 2)).astype(np.float16)
    weights = np.random.default_rng(1).standard_normal((8, 24)).astype(np.float16)
    with OnnxRuntimeNetwork("visual", half_attention(weights)) as network:
        found = network.run({"frames": frames})["attended"][:, 0].astype(np.float64)
    states = frames.reshape(2, 8, 4).transpose(0, 2, 1).astype(np.float32)
    query, key, value = np.split(states @ weights.astype(np.float32), 3, axis=-1)
    expected = np.asarray((query * 0.5) @ key.transpose(0, 2, 1) @ value, dtype=np.float64)
    np.testing.assert_allclose(found, expected, rtol=0.01, atol=0.02 * np.abs(expected).max())
    # What ONNX Runtime says about its first try would look like a failure.
    assert capfd.readouterr() == ("", "")


def half_attention(weights: np.ndarray) -> bytes:
    """Attention over a picture in half precision, as MobileCLIP's last stage exports it."""
    from onnx import TensorProto, helper, numpy_helper

    def constant(name: str, values: Any) -> Any:
        return numpy_helper.from_array(np.asarray(values), name)

    node, half = helper.make_node, TensorProto.FLOAT16
    nodes = [
        node("Reshape", ["frames", "flat"], ["columns"]),
        node("Transpose", ["columns"], ["rows"], perm=[0, 2, 1]),
        node("MatMul", ["rows", "weights"], ["projected"]),
        node("Reshape", ["projected", "parts"], ["parted"]),
        node("Transpose", ["parted"], ["stacked"], perm=[2, 0, 3, 1, 4]),
    ]
    for index, name in enumerate(("query", "key", "value")):
        bounds = [str(index), str(index + 1), "0"]
        nodes.append(node("Slice", ["stacked", *bounds], [f"{name}_slice"]))
        nodes.append(node("Squeeze", [f"{name}_slice", "0"], [name]))
    nodes += [
        node("Mul", ["query", "scale"], ["scaled"]),
        node("Transpose", ["key"], ["turned"], perm=[0, 1, 3, 2]),
        node("MatMul", ["scaled", "turned"], ["scores"]),
        node("MatMul", ["scores", "value"], ["attended"]),
    ]
    graph = helper.make_graph(
        nodes,
        "attention",
        [helper.make_tensor_value_info("frames", half, ["batch", 8, 2, 2])],
        [helper.make_tensor_value_info("attended", half, ["batch", 1, 4, 8])],
        [
            constant("weights", weights),
            constant("scale", np.float16(0.5)),
            constant("flat", [-1, 8, 4]),
            constant("parts", [-1, 4, 3, 1, 8]),
            *(constant(str(index), [index]) for index in range(4)),
        ],
    )
    opsets = [helper.make_opsetid("", 20)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()


@pytest.fixture
def cuda_session(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """ONNX Runtime's own session on the CPU, in CUDA's place; what CUDA was asked is kept."""
    import onnxruntime

    real = onnxruntime.InferenceSession
    told: dict[str, Any] = {"outputs": []}

    class Binding:
        def __init__(self, session: Any) -> None:
            self.inner = session.io_binding()

        def bind_output(self, name: str, device_type: str, device_id: int) -> None:
            told["outputs"].append((name, device_type, device_id))
            self.inner.bind_output(name, "cpu")

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

    class Session:
        def __init__(
            self, content: bytes, options: Any, *, providers: list[Any], enable_fallback: int
        ) -> None:
            assert not enable_fallback
            self._providers = [name for name, _ in providers]
            told["settings"] = providers[0][1]
            self._session = real(content, options, providers=["CPUExecutionProvider"])

        def get_providers(self) -> list[str]:
            return self._providers

        def io_binding(self) -> Binding:
            return Binding(self._session)

        def run_with_iobinding(self, binding: Binding, options: Any) -> None:
            self._session.run_with_iobinding(binding.inner, options)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._session, name)

    def preload() -> None:
        print("Failed to load libcublasLt.so.13")

    monkeypatch.setattr(
        onnxruntime,
        "get_available_providers",
        lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"],
    )
    monkeypatch.setattr(onnxruntime, "preload_dlls", preload)
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    return told


@pytest.mark.parametrize("tf32", ["0", "1"])
def test_on_cuda_it_searches_once_and_binds_what_is_read(
    colour_bundle: Path,
    cuda_session: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tf32: str,
) -> None:
    monkeypatch.setenv(TF32_VARIABLE, tf32)
    bundle = Bundle.open(colour_bundle)
    with load_onnxruntime(bundle, "text", "fp32") as plain:
        inputs = {"token_ids": np.array([[1, 2]]), "token_mask": np.ones((1, 2), bool)}
        expected = plain.run(inputs)
    with load_onnxruntime(bundle, "text", "fp32", "cuda:1") as network:
        found = network.run(inputs, ["sentence"])
    assert list(found) == ["sentence"]
    np.testing.assert_array_equal(found["sentence"], expected["sentence"])
    assert cuda_session["outputs"] == [("sentence", "cuda", 1)]
    assert cuda_session["settings"] == {
        "device_id": 1,
        "use_tf32": int(tf32),
        "cudnn_conv_algo_search": "HEURISTIC",
        "arena_extend_strategy": "kSameAsRequested",
    }
    # Standard output is for results.
    assert capsys.readouterr().out == ""


def test_a_missing_package_names_its_extra(
    colour_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match="onnxruntime") as caught:
        load_onnxruntime(Bundle.open(colour_bundle), "visual", "fp32")
    assert "[cpu]" in str(caught.value)


def test_two_builds_that_overwrote_each_other_are_recognised(
    colour_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", types.ModuleType("onnxruntime"))
    with pytest.raises(BackendError, match="broken"):
        load_onnxruntime(Bundle.open(colour_bundle), "visual", "fp32")


def test_bytes_that_are_no_network_are_refused() -> None:
    with pytest.raises(BundleError, match="cannot load"):
        OnnxRuntimeNetwork("visual", b"not a network")


def test_names_that_are_not_text_are_refused(colour_bundle: Path) -> None:
    content = (colour_bundle / "visual.fp32.onnx").read_bytes()
    with pytest.raises(BundleError, match=r"not UTF-8|cannot load"):
        OnnxRuntimeNetwork("visual", content.replace(b"features", b"fe\xfftures"))


def test_an_altered_file_never_reaches_the_runtime(
    own_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = own_bundle / "visual.fp32.onnx"
    file.write_bytes(file.read_bytes() + b"\0")
    monkeypatch.setattr(backend, "OnnxRuntimeNetwork", lambda *_: pytest.fail("it was opened"))
    with pytest.raises(BundleError, match="altered"):
        load_onnxruntime(Bundle.open(own_bundle), "visual", "fp32")


def test_a_manifest_that_lies_about_a_network_is_refused(own_bundle: Path) -> None:
    def lie(manifest: dict[str, Any]) -> None:
        manifest["networks"]["visual"]["variants"]["fp32"]["outputs"][0]["shape"] = ["batch", 4]

    edit_manifest(own_bundle, lie)
    with pytest.raises(BundleError, match="manifest says"):
        load_onnxruntime(Bundle.open(own_bundle), "visual", "fp32")
