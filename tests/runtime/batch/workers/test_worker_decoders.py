"""What decodes in each worker, and what becomes of videos that NVDEC refuses."""

from __future__ import annotations

import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from tests.support import nvdec_double
from tests.support.tensorrt_double import Gpu
from vtloc_runtime.batch.workers import worker_decoders as decoders
from vtloc_runtime.batch.workers.worker_decoders import (
    decode_with,
    describe_decoders,
    open_readers,
    worker_decoders,
)
from vtloc_runtime.batch.workers.worker_pool import PipelineOptions, run_tasks
from vtloc_runtime.errors import BackendError, MissingExtraError, VideoError
from vtloc_runtime.video import VideoOptions
from vtloc_runtime.video.decoders.nvdec.api import refusal
from vtloc_runtime.video.isolation import decoder_process, gpu_decoder_process
from vtloc_runtime.video.isolation.limits import DecoderLimits


@pytest.fixture(autouse=True)
def big_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoders, "available_processors", lambda: 128)


def test_nvdec_gets_two_workers_an_engine_however_many_processors_there_are() -> None:
    with nvdec_double.installed(Gpu(engines=5)):
        assert worker_decoders("nvdec") == ["nvdec:0"] * 10
        assert worker_decoders("nvdec", None, 4) == ["nvdec:0"] * 4
    with nvdec_double.installed(Gpu(engines=7)):
        assert len(worker_decoders("nvdec")) == 14


def test_the_gpus_of_the_networks_take_turns() -> None:
    with nvdec_double.installed(Gpu(count=2, engines=2)):
        assert worker_decoders("nvdec", "cuda:0,cuda:1") == ["nvdec:0", "nvdec:1"] * 4
        assert worker_decoders("nvdec", "cuda:1") == ["nvdec:1"] * 4
        assert worker_decoders("nvdec:1", "cuda:0", 2) == ["nvdec:1"] * 2


def test_auto_puts_every_processor_beside_nvdec() -> None:
    with nvdec_double.installed(Gpu(engines=5)):
        found = worker_decoders("auto", "cuda")
        assert (found.count("nvdec:0"), found.count("cpu"), len(found)) == (10, 128, 138)
        assert worker_decoders("auto", "cuda", 12) == ["nvdec:0"] * 10 + ["cpu"] * 2


def test_what_decodes_is_described_with_the_memory_it_takes() -> None:
    assert describe_decoders(["nvdec:0", "cpu", "nvdec:0", "cpu", "cpu", "nvdec:1"]) == (
        "nvdec:0: 2 sessions in one process, at most 0.6 GB with 1080p, 1.0 GB with 4K, of the "
        "GPU's memory; nvdec:1: 1 session in one process, at most 0.6 GB with 1080p, 0.8 GB with "
        "4K, of the GPU's memory; processors: 3 at once"
    )


def test_workers_of_one_gpu_share_a_process_and_processors_have_their_own() -> None:
    with ExitStack() as stack:
        asked = ["nvdec:0", "nvdec:1", "nvdec:0", "cpu", "cpu"]
        with (
            mock.patch.object(gpu_decoder_process, "GpuDecoderProcess") as shared,
            mock.patch.object(decoder_process, "DecoderProcess") as own,
        ):
            assert len(open_readers(asked, DecoderLimits(), stack, start=True)) == 5
    assert (shared.call_count, own.call_count) == (2, 2)


def test_a_reader_makes_its_process_once_and_never_after_its_end(tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(b"film")
    with mock.patch.object(decoder_process, "DecoderProcess") as own:
        with ExitStack() as stack:
            used, idle = open_readers(["cpu", "cpu"], DecoderLimits(), stack)
            assert own.call_count == 0
            for _ in range(2):
                list(used(film, VideoOptions(), 4))
            assert own.call_count == 1
        assert own.return_value.close.call_count == 1
    with pytest.raises(VideoError, match="reading was stopped"):
        list(idle(film, VideoOptions(), 4))


def test_auto_is_the_processors_where_no_nvdec_answers() -> None:
    with nvdec_double.installed(Gpu(ordinal=1)):
        assert worker_decoders("auto", None, 3) == ["cpu"] * 3
        with pytest.raises(BackendError, match="no NVDEC answers on GPU 0"):
            worker_decoders("nvdec", None, 3)


def test_nvdec_that_is_not_installed_is_named() -> None:
    with nvdec_double.installed(), mock.patch.dict(sys.modules, {"PyNvVideoCodec": None}):
        with pytest.raises(MissingExtraError, match=r"\[decode-gpu-cu13\]"):
            worker_decoders("nvdec")
        assert set(worker_decoders("auto")) == {"cpu"}


class Reader:
    """Gives numbers, and on NVDEC refuses after some of them."""

    def __init__(self, refuses_after: int | None, error: VideoError | None = None) -> None:
        self.refuses_after = refuses_after
        self.error = error or refusal("NVDEC decodes no such thing", "film.mp4")
        self.asked: list[str] = []

    def __call__(self, source: Any, options: VideoOptions, size: int) -> Any:
        self.asked.append(options.decoder)
        for number in range(4):
            if options.decoder != "cpu" and number == self.refuses_after:
                raise self.error
            yield number


@pytest.mark.parametrize("after", [0, 1, 3])
def test_what_nvdec_refuses_the_processor_goes_on_with(after: int) -> None:
    reader = Reader(after)
    read = decode_with(reader, "nvdec:1", fallback=True)
    given: list[object] = list(read("film.mp4", VideoOptions(), 8))
    assert given == [0, 1, 2, 3]
    assert reader.asked == ["nvdec:1", "cpu"]


def test_asked_for_by_name_nvdec_refuses_for_good() -> None:
    reader = Reader(1)
    with pytest.raises(VideoError, match="no such thing"):
        list(decode_with(reader, "nvdec")("film.mp4", VideoOptions(), 8))
    assert reader.asked == ["nvdec"]


def test_a_damaged_video_is_not_tried_twice() -> None:
    reader = Reader(1, VideoError("it is damaged", where="film.mp4"))
    with pytest.raises(VideoError, match="damaged"):
        list(decode_with(reader, "nvdec", fallback=True)("film.mp4", VideoOptions(), 8))


def test_workers_share_films_out_by_what_each_finishes(monkeypatch: pytest.MonkeyPatch) -> None:
    # Two workers of NVDEC hold their first films until the processors have done all the rest.
    done = threading.Event()
    left = iter(range(20, 0, -1))
    monkeypatch.setattr(decoders, "available_processors", lambda: 2)

    def read(source: Any, options: VideoOptions, size: int) -> Any:
        yield options.decoder

    def work(task: int, read: Any) -> tuple[int, str]:
        (decoder,) = read("film.mp4", VideoOptions(), 8)
        if decoder != "cpu":
            assert done.wait(20)
        elif next(left) == 3:
            done.set()
        return task, decoder

    monkeypatch.setattr("vtloc_runtime.batch.workers.worker_pool.read_here", read)
    with nvdec_double.installed(Gpu(engines=1)):
        options = PipelineOptions(decoder="auto", device="cuda", isolated=False)
        found = dict(run_tasks(work, list(range(20)), options))
    assert len(found) == 20
    assert sorted(found.values()) == ["cpu"] * 18 + ["nvdec:0"] * 2


def test_workers_give_the_same_frames_whatever_decodes(tmp_path: Any) -> None:
    from vtloc_runtime.bench.video import write_bench_video

    films = []
    for seconds in (3, 5, 4, 6):
        folder = tmp_path / str(seconds)
        folder.mkdir()
        films.append(str(write_bench_video(folder, seconds=seconds, width=96, height=64)))

    def work(film: str, read: Any) -> tuple[str, Any]:
        parts = list(read(film, VideoOptions(frames_per_second=2.0), 4))
        return film, np.concatenate([part.images for part in parts[:-1]])

    with nvdec_double.installed(Gpu(engines=1)):
        plain = dict(run_tasks(work, films, PipelineOptions(workers=2, isolated=False)))
        options = PipelineOptions(workers=3, isolated=False, decoder="auto", device="cuda")
        mixed = dict(run_tasks(work, films, options))
    for film in films:
        np.testing.assert_array_equal(plain[film], mixed[film])
