"""The whole runtime on TensorRT answers as it does on ONNX Runtime: videos in, moments out."""

from __future__ import annotations

import gc
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.support import nvdec_double
from vtloc_runtime.bench.video import write_bench_video
from vtloc_runtime.errors import MissingExtraError
from vtloc_runtime.localize.localizer import Localizer

QUERIES = ["a person walks across the room", "a cat sits", "the room"]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bench_video(tmp_path_factory.mktemp("video"), seconds=20, width=160, height=96)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_same_moments_come_out(gpu, bundle, video, precision) -> None:
    with (
        Localizer.open(bundle, precision=precision) as plain,
        Localizer.open(bundle, backend="tensorrt", precision=precision) as fast,
    ):
        assert fast.backend == "tensorrt:cuda:0"
        encoded, expected = fast.encode_video(video), plain.encode_video(video)
        np.testing.assert_array_equal(encoded.features, expected.features)
        np.testing.assert_array_equal(encoded.times, expected.times)
        for moments in (1, 3):
            found = fast.localize(encoded, QUERIES, moments=moments)
            assert found == plain.localize(expected, QUERIES, moments=moments)
    gc.collect()
    assert gpu.leaks() == {}


def test_several_threads_ask_one_localizer(gpu, bundle, video) -> None:
    with (
        Localizer.open(bundle, precision="fp32") as plain,
        Localizer.open(bundle, backend="tensorrt", precision="fp32") as fast,
        ThreadPoolExecutor(4) as pool,
    ):
        encoded = plain.encode_video(video)
        expected = [plain.localize(encoded, query) for query in QUERIES]
        for _ in range(4):
            assert list(pool.map(lambda query: fast.localize(encoded, query), QUERIES)) == expected


def test_a_video_longer_than_the_widest_profile_goes_by_windows(gpu, bundle) -> None:
    from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo

    generator = np.random.default_rng(0)
    long = EncodedVideo(
        generator.normal(size=(90, 6)).astype(np.float32), np.arange(90, dtype=float), 90.0
    )
    # Windows of 32 frames fit the profile for few long ones, where five sentences go in turns.
    queries = [f"a cat walks {word}" for word in ("in", "the", "room", "across", "a")]
    with (
        Localizer.open(bundle, precision="fp32") as plain,
        Localizer.open(bundle, backend="tensorrt", precision="fp32") as fast,
    ):
        assert fast.localize(long, queries) == plain.localize(long, queries)


def test_nothing_changes_where_the_gpu_decodes_too(bundle, video) -> None:
    with nvdec_double.installed() as machine:
        with (
            Localizer.open(bundle, backend="tensorrt", precision="fp32") as plain,
            Localizer.open(
                bundle, backend="tensorrt", precision="fp32", decoder="nvdec"
            ) as everything,
        ):
            expected, encoded = plain.encode_video(video), everything.encode_video(video)
            np.testing.assert_array_equal(encoded.features, expected.features)
            np.testing.assert_array_equal(encoded.times, expected.times)
            assert (encoded.duration, encoded.warnings) == (expected.duration, expected.warnings)
            assert everything.localize(encoded, QUERIES) == plain.localize(expected, QUERIES)
            assert machine.made["decoder"] == 1
        gc.collect()
        assert machine.leaks() == {}


def test_a_decoder_that_cannot_serve_is_refused_before_any_video(gpu, bundle, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "PyNvVideoCodec", None)
    with pytest.raises(MissingExtraError, match=r"\[decode-gpu-cu13\]"):
        Localizer.open(bundle, backend="tensorrt", decoder="nvdec:3")
    assert gpu.leaks() == {}
