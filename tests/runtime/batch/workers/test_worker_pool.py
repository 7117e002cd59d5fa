"""Many videos at once: every job once, failures apart, order and stops as asked."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.colours import write_colour_video
from tests.support.crashing_decoder import crash_on
from vtloc_runtime.batch.answer import run_jobs
from vtloc_runtime.batch.job_lists.jobs import VideoJobs, group_by_video, read_jobs
from vtloc_runtime.batch.results.records import FileState, Record
from vtloc_runtime.batch.workers.worker_pool import PipelineOptions, run_tasks
from vtloc_runtime.errors import DecoderLostError, UsageError, VideoError
from vtloc_runtime.localize.encoding.feature_cache import FeatureCache
from vtloc_runtime.localize.localizer import Localizer
from vtloc_runtime.video.isolation.chunks import Read
from vtloc_runtime.video.isolation.decoder_process import DecoderProcess

HERE = PipelineOptions(workers=3, isolated=False)


@pytest.fixture
def localizer(colour_bundle: Path) -> Any:
    with Localizer.open(colour_bundle, threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("films")
    scenes = [("red", 3), ("green", 4), ("blue", 2)]
    return [
        str(write_colour_video(folder / f"{index}.mp4", scenes[index % 3 :] + scenes[: index % 3]))
        for index in range(6)
    ]


def videos(films: list[str], *queries: str) -> list[VideoJobs]:
    return group_by_video(read_jobs(films, queries))


def plain(records: list[Record]) -> list[tuple[Any, ...]]:
    return sorted((r.id, r.video, r.query, r.moments, r.error) for r in records)


def flat(groups: Any) -> list[Record]:
    return [record for group in groups for record in group]


def test_any_number_of_workers_gives_the_same_answers(
    localizer: Localizer, films: list[str]
) -> None:
    jobs = videos(films, "red", "the screen turns blue")
    expected = plain(flat(run_jobs(localizer, jobs, options=PipelineOptions(1, isolated=False))))
    assert len(expected) == 12
    for options in (HERE, PipelineOptions(2), PipelineOptions(20, isolated=False)):
        assert plain(flat(run_jobs(localizer, jobs, options=options))) == expected


def test_results_come_in_order_on_request(localizer: Localizer, films: list[str]) -> None:
    options = PipelineOptions(workers=3, isolated=False, in_order=True)
    records = flat(run_jobs(localizer, videos(films, "red", "blue"), options=options))
    assert [record.video for record in records] == [film for film in films for _ in range(2)]


def test_one_failing_video_costs_its_own_jobs_only(
    localizer: Localizer, films: list[str], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_text("words")
    records = flat(run_jobs(localizer, videos([*films, str(bad), "gone.mp4"], "red", " ")))
    failed = {(Path(r.video).name, r.query): r.error.kind for r in records if r.error is not None}
    assert failed.pop(("bad.mp4", "red")) == "video"
    assert failed.pop(("gone.mp4", "red")) == "video"
    assert set(failed.values()) == {"query"}
    assert len(records) == 16


def test_a_crashed_decoder_costs_its_own_video_only(
    localizer: Localizer, films: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fatal = str(write_colour_video(tmp_path / "fatal.mp4", [("red", 90)]))
    crash_on(Path(fatal), monkeypatch)
    jobs = videos([films[0], fatal, films[1]], "red")
    found = flat(run_jobs(localizer, jobs, options=PipelineOptions(workers=1)))
    assert [record.failed for record in found] == [False, True, False]
    assert found[1].error is not None
    assert "crashed the decoder (ended by SIGSEGV" in found[1].error.what


def test_a_run_over_cached_videos_starts_no_decoder(
    localizer: Localizer, films: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    options = PipelineOptions(workers=2, cache=FeatureCache(tmp_path))
    jobs = videos(films, "red")
    before = plain(flat(run_jobs(localizer, jobs, options=options)))
    monkeypatch.setattr("vtloc_runtime.video.isolation.decoder_process.start_child", None)
    assert plain(flat(run_jobs(localizer, jobs, options=options))) == before


def test_workers_share_the_work_and_do_each_task_once() -> None:
    done: list[int] = []
    lock = threading.Lock()

    def work(task: int, _read: Read) -> int:
        time.sleep(0.001)
        with lock:
            done.append(task)
        return task * task

    found = list(run_tasks(work, list(range(100)), PipelineOptions(4, isolated=False)))
    assert sorted(found) == [task * task for task in range(100)]
    assert sorted(done) == list(range(100))


def test_no_tasks_are_done_at_once() -> None:
    assert list(run_tasks(lambda task, read: task, [], PipelineOptions())) == []


@pytest.mark.parametrize("in_order", [False, True])
def test_a_stop_lets_what_is_in_flight_finish(in_order: bool) -> None:
    begun: list[int] = []

    def work(task: int, _read: Read) -> int:
        begun.append(task)
        time.sleep(0.01)
        return task

    options = PipelineOptions(3, isolated=False, in_order=in_order)
    stopped = threading.Event()
    found = []
    for answer in run_tasks(work, list(range(200)), options, stop=stopped.is_set):
        found.append(answer)
        stopped.set()
    assert sorted(found) == sorted(begun)
    assert len(found) < 20


def test_results_wait_until_they_are_taken() -> None:
    begun: list[int] = []

    def work(task: int, _read: Read) -> int:
        begun.append(task)
        return task

    workers = run_tasks(work, list(range(1000)), PipelineOptions(2, isolated=False))
    next(workers)
    time.sleep(0.2)
    assert len(begun) < 20
    workers.close()


def test_leaving_early_leaves_no_thread_behind(localizer: Localizer, films: list[str]) -> None:
    before = threading.active_count()
    answers = run_jobs(localizer, videos(films, "red"), options=PipelineOptions(workers=2))
    next(answers)
    answers.close()
    assert threading.active_count() == before


def test_a_fault_in_the_work_itself_is_raised() -> None:
    def work(_task: int, _read: Read) -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(run_tasks(work, [1, 2, 3], PipelineOptions(2, isolated=False)))


def test_cached_videos_are_answered_without_reading_them(
    localizer: Localizer, films: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = PipelineOptions(2, isolated=False, cache=FeatureCache(tmp_path / "cache"))
    first = flat(run_jobs(localizer, videos(films, "red"), options=options))
    monkeypatch.setattr(
        Localizer, "encode_video", lambda *_, **__: pytest.fail("it was read again")
    )
    again = flat(run_jobs(localizer, videos(films, "red"), options=options))
    assert plain(again) == plain(first)


def test_progress_is_told_of_every_video(localizer: Localizer, films: list[str]) -> None:
    reached: dict[str, float] = {}
    flat(run_jobs(localizer, videos(films, "red"), options=HERE, progress=reached.__setitem__))
    assert set(reached) == set(films)
    assert all(seconds > 5 for seconds in reached.values())


def test_nonsense_is_refused(localizer: Localizer) -> None:
    with pytest.raises(UsageError, match="0 moments"):
        run_jobs(localizer, [], moments=0)


def test_frames_that_repeat_are_encoded_once(
    colour_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import numpy as np

    from vtloc_runtime.localize.encoding.frame_dedup import FrameDeduplicator
    from vtloc_runtime.networks.onnxruntime_backend import OnnxRuntimeNetwork

    film = write_colour_video(tmp_path / "still.mp4", [("red", 8), ("blue", 8), ("red", 8)], rate=8)
    with Localizer.open(colour_bundle, batch=5) as localizer:
        counted: list[int] = []
        run = OnnxRuntimeNetwork.run

        def count(network: OnnxRuntimeNetwork, inputs: Any) -> Any:
            counted.append(len(inputs["frames"]))
            return run(network, inputs)

        monkeypatch.setattr(OnnxRuntimeNetwork, "run", count)
        video = localizer.encode_video(film)
        assert len(video) == 24
        assert sum(counted) < 12
        monkeypatch.setattr(FrameDeduplicator, "is_new", lambda *_: True)
        whole = localizer.encode_video(film)
        assert np.array_equal(video.features, whole.features)


def test_memory_does_not_grow_with_the_video(localizer: Localizer) -> None:
    import tracemalloc

    import numpy as np

    from vtloc_runtime.video.isolation.chunks import FrameChunk, ReadingEnd

    def film(seconds: int) -> Any:
        def read(_source: Any, _options: Any, size: int) -> Any:
            for first in range(0, seconds, size):
                times = np.arange(first, min(first + size, seconds), dtype=np.float64)
                images = np.zeros((len(times), 32, 32, 3), dtype=np.uint8)
                images[:] = (times.astype(np.int64) % 251)[:, None, None, None]
                yield FrameChunk(images, times, np.arange(len(times)))
            yield ReadingEnd(float(seconds))

        return read

    def peak(seconds: int) -> int:
        tracemalloc.start()
        try:
            video = localizer.encode_video("film", read=film(seconds))
            localizer.localize(video, "red")
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(120)
    short, long = peak(120), peak(7200)
    # Features of 3 floats, times and logits are all that a longer video adds.
    assert long - short < 7200 * 400
    assert long - short < 7200 * 32 * 32 * 3 / 5


def test_a_reading_without_an_end_is_no_video(localizer: Localizer) -> None:
    def nothing(source: Any, options: Any, size: int) -> Any:
        yield from ()

    with pytest.raises(VideoError, match="no frame"):
        localizer.encode_video("film.mp4", read=nothing)


def lose_decoders(
    monkeypatch: pytest.MonkeyPatch, losses: int, begun: threading.Event | None = None
) -> None:
    """Have decoders ended by a signal from outside, as often as asked, after their first chunk."""
    read = DecoderProcess.read
    left = [losses]

    def lost(self: DecoderProcess, source: Any, options: Any, size: int) -> Any:
        for part in read(self, source, options, 1):
            yield part
            if left[0] > 0:
                left[0] -= 1
                if begun is not None:
                    begun.set()
                raise DecoderLostError("the decoder was ended from outside", where=source)

    monkeypatch.setattr(DecoderProcess, "read", lost)


def test_a_video_whose_decoder_was_ended_is_tried_once_more(
    localizer: Localizer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    film = str(write_colour_video(tmp_path / "film.mp4", [("red", 1), ("blue", 1)] * 30))
    lose_decoders(monkeypatch, 1)
    (record,) = flat(run_jobs(localizer, videos([film], "red"), options=PipelineOptions(1)))
    assert not record.failed
    lose_decoders(monkeypatch, 2)
    (record,) = flat(run_jobs(localizer, videos([film], "red"), options=PipelineOptions(1)))
    assert record.error is not None
    assert "ended from outside" in record.error.what


def test_decoders_that_end_while_the_run_stops_leave_no_record(
    localizer: Localizer, films: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    long = str(write_colour_video(tmp_path / "long.mp4", [("red", 1), ("blue", 1)] * 30))
    stopped = threading.Event()
    lose_decoders(monkeypatch, 100, stopped)
    found = flat(
        run_jobs(
            localizer,
            videos([long, *films], "red"),
            options=PipelineOptions(2),
            stop=stopped.is_set,
        )
    )
    assert not any(record.failed for record in found)
    assert len(found) < 7


def test_progress_that_raises_costs_no_answer(localizer: Localizer, films: list[str]) -> None:
    def broken(video: str, seconds: float) -> None:
        raise RuntimeError(video, seconds)

    found = flat(run_jobs(localizer, videos(films, "red"), options=HERE, progress=broken))
    assert len(found) == len(films)
    assert not any(record.failed for record in found)


def test_records_keep_the_state_of_the_file(localizer: Localizer, films: list[str]) -> None:
    for record in flat(run_jobs(localizer, videos(films, "red", " "), options=HERE)):
        state = Path(record.video).stat()
        assert record.size == state.st_size
        assert record.modified == pytest.approx(state.st_mtime, abs=1e-5)
        assert not record.is_outdated(FileState.read(record.video))
