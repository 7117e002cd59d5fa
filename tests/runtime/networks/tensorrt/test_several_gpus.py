"""Several GPUs in one run: each has its engines and its share of the work; answers are the same.

Run on a double of two GPUs; no real machine with several has run this.
"""

from __future__ import annotations

import gc
from typing import Any

import pytest

from tests.support import tensorrt_double
from vtloc_runtime.batch.answer import run_jobs
from vtloc_runtime.batch.job_lists.jobs import group_by_video, read_jobs
from vtloc_runtime.batch.workers.worker_pool import PipelineOptions
from vtloc_runtime.bench.video import write_bench_video
from vtloc_runtime.errors import BackendError
from vtloc_runtime.localize.localizer import Localizer

QUERIES = ["a person walks across the room", "a cat sits", "the room"]


@pytest.fixture
def gpus():
    with tensorrt_double.installed(tensorrt_double.Gpu(count=2)) as machine:
        yield machine


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("videos")
    written = []
    for seconds in (5, 9, 14, 7, 11, 6):
        (folder / str(seconds)).mkdir()
        written.append(
            write_bench_video(folder / str(seconds), seconds=seconds, width=96, height=64)
        )
    return [str(path) for path in written]


def found(localizer: Localizer, videos: list[str], workers: int) -> list[tuple[object, ...]]:
    jobs = group_by_video(read_jobs(videos, QUERIES))
    options = PipelineOptions(workers=workers, isolated=False, in_order=True)
    return [
        (record.id, record.moments, record.duration, record.error)
        for group in run_jobs(localizer, jobs, options=options)
        for record in group
    ]


def test_the_work_is_shared_out_and_the_answers_are_the_same(gpus, bundle, videos) -> None:
    asked: dict[str, Any] = {"backend": "tensorrt", "precision": "fp32", "batch": 4}
    with Localizer.open(bundle, **asked) as one:
        expected = found(one, videos, 1)
        assert one.backend == "tensorrt:cuda:0"
    alone = dict(gpus.runs)
    assert alone.keys() == {0}
    with Localizer.open(bundle, device="cuda:0,cuda:1", **asked) as both:
        assert both.backend == "tensorrt:cuda:0,cuda:1"
        assert found(both, videos, 4) == expected
    assert all(moments and error is None for _, moments, _, error in expected)
    shares = [gpus.runs[0] - alone[0], gpus.runs[1]]
    assert min(shares) >= sum(shares) // 4
    gc.collect()
    assert gpus.leaks() == {}


def test_each_gpu_holds_its_own_engines(gpus, bundle) -> None:
    with Localizer.open(bundle, backend="tensorrt", device="cuda:0,cuda:1"):
        places = [block.ordinal for block in gpus.allocations.values() if block.kind == "device"]
        assert places.count(0) == places.count(1) > 0
    gc.collect()
    assert gpus.leaks() == {}


def test_a_gpu_that_is_not_there_ends_the_opening_cleanly(gpus, bundle) -> None:
    with pytest.raises(BackendError, match="cuda:2"):
        Localizer.open(bundle, backend="tensorrt", device="cuda:0,cuda:2")
    gc.collect()
    assert gpus.leaks() == {}
