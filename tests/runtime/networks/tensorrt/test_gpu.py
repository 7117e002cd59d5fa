"""On a real GPU: engines built here answer as their ONNX files do, by every path there is."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import onnxruntime
import pytest

from recipes.films.priority import kept_priority
from tests.support import small_bundle
from tests.support.films import add_video_stream
from vtloc_export.engines.build import EngineOptions, build_engines
from vtloc_export.engines.profiles import default_traffic, parse_traffic
from vtloc_runtime.bench.measure import BenchOptions, measure
from vtloc_runtime.bench.video import write_bench_video
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.bundle.engine_file import EngineSettings
from vtloc_runtime.errors import EngineError, NetworkError, VideoError
from vtloc_runtime.localize.localizer import Localizer
from vtloc_runtime.networks.tensorrt.network import TensorrtNetwork, load_tensorrt
from vtloc_runtime.video import VideoOptions, open_video

pytestmark = [pytest.mark.gpu, pytest.mark.xdist_group("gpu")]

NETWORKS = ["visual", "text", "localizer"]
# FP32 without TF32 differs by the order of sums alone; half precision by its ten bits.
TOLERANCE = {"fp32": 1e-4, "fp16": 2e-2}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("tensorrt")
    folder = tmp_path_factory.mktemp("gpu") / "bundle"
    bundle = small_bundle.write_small_bundle(folder)
    base = default_traffic(bundle)
    traffic = tuple(
        parse_traffic(text, base)
        for text in ("batch=1:4:8,frames=1:8:16,tokens=1:4:8", "batch=1:1:3")
    )
    for precision in ("fp32", "fp16"):
        options = EngineOptions("local", backend="tensorrt", precision=precision, traffic=traffic)
        build_engines(bundle, options)
    return folder


@pytest.fixture
def bundle(built: Path) -> Bundle:
    return Bundle.open(built)


@kept_priority()
def write_moving_film(
    path: Path,
    *,
    codec: str,
    container: str = "mp4",
    pixels: str = "yuv420p",
    options: dict[str, str] | None = None,
) -> Path:
    """Five seconds of a gradient that moves over noise."""
    noise = np.random.default_rng(5).integers(0, 64, (176, 320, 3), dtype=np.uint8)
    ramp = np.linspace(0, 180, 320, dtype=np.uint8)[None, :, None]
    with av.open(str(path), "w", container) as out:
        stream = add_video_stream(out, codec, 25, (320, 176), pixels=pixels, options=options)
        for number in range(125):
            picture = noise + np.roll(ramp, 3 * number, axis=1)
            frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format=pixels)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def assert_close(
    network: TensorrtNetwork,
    bundle: Bundle,
    precision: str,
    inputs: dict[str, np.ndarray],
    given: dict[str, Any] | None = None,
) -> None:
    file = bundle.variant(network.name, precision)
    session = onnxruntime.InferenceSession(
        bundle.read(file.file, file.sha256), providers=["CPUExecutionProvider"]
    )
    names: list[str] = [output.name for output in session.get_outputs()]
    found: dict[str, np.ndarray] = network.run(inputs if given is None else given)
    for name, array in zip(names, session.run(None, inputs), strict=True):
        assert found[name].dtype == array.dtype
        scale = max(1.0, float(np.abs(array.astype(np.float64)).max()))
        np.testing.assert_allclose(found[name], array, rtol=0, atol=TOLERANCE[precision] * scale)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_an_engine_answers_as_its_onnx_file_does(bundle, name, precision) -> None:
    half = precision == "fp16"
    with load_tensorrt(bundle, name, precision) as network:
        for seed in range(5):
            inputs = small_bundle.example_inputs(name, half=half, seed=seed)
            assert_close(network, bundle, precision, inputs)


def test_cuda_graphs_answer_as_plain_runs_do(bundle) -> None:
    with load_tensorrt(bundle, "localizer", "fp32", workers=1) as network:
        for seed in range(6):
            for frames in (3, 16, 20):
                inputs = small_bundle.example_inputs("localizer", frames=frames, seed=seed)
                assert_close(network, bundle, "fp32", inputs)
        assert network.memory.graphs == 3


def test_shapes_may_change_between_calls(bundle) -> None:
    generator = np.random.default_rng(0)
    with load_tensorrt(bundle, "localizer", "fp32", workers=1, graphs=2) as network:
        for _ in range(40):
            batch, frames, tokens = (int(generator.integers(1, most)) for most in (9, 33, 17))
            inputs = small_bundle.example_inputs(
                "localizer", batch=batch, frames=frames, tokens=tokens
            )
            assert_close(network, bundle, "fp32", inputs)


def test_several_threads_run_at_once(bundle) -> None:
    with (
        load_tensorrt(bundle, "localizer", "fp32", workers=3) as network,
        ThreadPoolExecutor(6) as pool,
    ):
        inputs = [
            small_bundle.example_inputs("localizer", frames=1 + seed % 7, seed=seed)
            for seed in range(48)
        ]
        work = [pool.submit(assert_close, network, bundle, "fp32", given) for given in inputs]
        for done in work:
            done.result()


def test_frames_on_the_device_are_taken_by_dlpack(bundle) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this torch has no CUDA")
    inputs = small_bundle.example_inputs("visual")
    lent = torch.from_numpy(inputs["frames"]).cuda()
    with load_tensorrt(bundle, "visual", "fp32") as network:
        for _ in range(4):
            assert_close(network, bundle, "fp32", inputs, {"frames": lent})
        turned = lent.transpose(1, 2)
        with pytest.raises(NetworkError, match="not contiguous"):
            network.run({"frames": turned})


def test_memory_comes_back(bundle) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this torch has no CUDA")

    def once() -> int:
        with load_tensorrt(bundle, "localizer", "fp32") as network:
            for _ in range(3):
                network.run(small_bundle.example_inputs("localizer"))
        return int(torch.cuda.mem_get_info()[0])

    once()
    before = once()
    assert abs([once() for _ in range(5)][-1] - before) <= 16 * 2**20


def test_shapes_beyond_the_profiles_are_refused(bundle) -> None:
    with (
        load_tensorrt(bundle, "localizer", "fp32") as network,
        pytest.raises(NetworkError, match="axis 'batch' takes 1 to 8"),
    ):
        network.run(small_bundle.example_inputs("localizer", batch=9))


def test_an_altered_plan_is_refused(bundle, tmp_path) -> None:
    import shutil

    shutil.copytree(bundle.path, tmp_path / "bundle")
    altered = Bundle.open(tmp_path / "bundle")
    for plan in altered.engines.glob("*.plan"):
        plan.write_bytes(plan.read_bytes()[:-1] + b"?")
    with pytest.raises(EngineError, match="altered"):
        load_tensorrt(altered, "text", "fp16")


def test_an_engine_is_found_again_and_builds_from_frozen_timings(bundle, tmp_path) -> None:
    copy = small_bundle.write_small_bundle(tmp_path / "bundle")
    options = EngineOptions("local", timing_cache=tmp_path / "timings.bin")
    assert all(report.built for report in build_engines(copy, options))
    assert not any(report.built for report in build_engines(copy, options))
    frozen = replace(options, settings=EngineSettings(frozen_timings=True))
    assert all(report.built for report in build_engines(copy, frozen))


def test_the_whole_runtime_gives_the_same_moments(bundle, tmp_path) -> None:
    video = write_bench_video(tmp_path, seconds=12, width=160, height=96)
    with (
        Localizer.open(bundle, precision="fp32") as plain,
        Localizer.open(bundle, backend="tensorrt", precision="fp32") as fast,
    ):
        encoded = plain.encode_video(video)
        queries = ["a person walks across the room", "a cat sits"]
        pairs = zip(plain.localize(encoded, queries), fast.localize(encoded, queries), strict=True)
        for expected, found in pairs:
            assert expected.best is not None
            assert found.best is not None
            assert found.best.overlap(expected.best) > 0.99
        features = fast.encode_video(video).features
        np.testing.assert_allclose(features, encoded.features, atol=1e-3)


KINDS: dict[str, dict[str, Any]] = {
    "h264": {"codec": "libx264", "options": {"bf": "3", "g": "24"}},
    "hevc ten bits": {"codec": "libx265", "pixels": "yuv420p10le"},
    "vp9": {"codec": "libvpx-vp9", "container": "webm", "options": {"cpu-used": "8"}},
    "av1": {"codec": "libsvtav1", "container": "matroska", "options": {"preset": "11"}},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strategy", ["needed", "everything"])
def test_nvdec_gives_the_processor_s_frames(kind, strategy, tmp_path) -> None:
    pytest.importorskip("PyNvVideoCodec")
    video = write_moving_film(tmp_path / "film", **KINDS[kind])
    for rate in (1, 7):
        options = VideoOptions(frames_per_second=rate, strategy=strategy)
        with open_video(video, options) as expected:
            reference = list(expected)
        try:
            with open_video(video, replace(options, decoder="nvdec")) as reader:
                frames = list(reader)
        except VideoError as refusal:
            pytest.skip(f"this GPU does not decode it: {refusal.what}")
        assert [one.time for one in frames] == [one.time for one in reference]
        for one, other in zip(frames, reference, strict=True):
            np.testing.assert_array_equal(one.image, other.image)
        assert reader.duration == expected.duration


def test_the_gpu_decodes_and_answers(bundle, tmp_path) -> None:
    pytest.importorskip("PyNvVideoCodec")
    video = write_bench_video(tmp_path, seconds=12, width=160, height=96)
    with (
        Localizer.open(bundle, backend="tensorrt", precision="fp32") as plain,
        Localizer.open(bundle, backend="tensorrt", precision="fp32", decoder="nvdec") as whole,
    ):
        expected, encoded = plain.encode_video(video), whole.encode_video(video)
        np.testing.assert_array_equal(encoded.features, expected.features)
        np.testing.assert_array_equal(encoded.times, expected.times)


def test_the_bench_measures_engines(bundle, tmp_path) -> None:
    video = write_bench_video(tmp_path, seconds=4, width=160, height=96)
    options = BenchOptions(
        "tensorrt", precision="fp16", batches=(1, 4), frames=(8,), seconds=0.2, video=video
    )
    report = measure(bundle, options)
    assert report.backend.startswith("tensorrt:cuda")
    assert report.device_bytes > 0
    assert all(stage.rate > 0 for stage in report.stages)
