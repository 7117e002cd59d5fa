"""Sessions of NVDEC between films: which film gets which, and how many exist."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from tests.support import films, nvdec_double
from tests.support.coded_films import CODECS
from tests.support.tensorrt_double import Gpu
from vtloc_runtime.errors import VideoError
from vtloc_runtime.video import VideoOptions, open_video
from vtloc_runtime.video.decoders.nvdec import api as nvdec_api
from vtloc_runtime.video.decoders.nvdec.memory import describe_sessions, nvdec_memory
from vtloc_runtime.video.decoders.nvdec.session_pool import SessionKind, SessionPool

OPTIONS = VideoOptions(frames_per_second=5.0)
KIND = SessionKind("h264", 8, b"header")


class Session:
    """What the pool knows of a session."""

    def __init__(self, kind: SessionKind, *, settles: bool = True) -> None:
        self.kind, self.where = kind, ""
        self.settles, self.open = settles, True

    def settle(self) -> bool:
        return self.settles

    def close(self) -> None:
        self.open = False


def take(pool: SessionPool, kind: SessionKind = KIND, **made: bool) -> Session:
    found = pool.take(kind, lambda: Session(kind, **made), where="film.mp4")  # type: ignore[arg-type, return-value]
    assert isinstance(found, Session)
    return found


@pytest.fixture
def gpu() -> Iterator[Gpu]:
    """A machine whose NVDEC keeps two sessions, as in a process that decodes film after film."""
    nvdec_api.keep_sessions()
    try:
        with nvdec_double.installed(Gpu(engines=1)) as machine:
            yield machine
    finally:
        nvdec_api._KEEPING.clear()


def test_a_session_serves_the_next_film_of_its_kind() -> None:
    pool = SessionPool(2)
    first = take(pool)
    pool.give_back(first)  # type: ignore[arg-type]
    again = take(pool)
    assert again is first
    assert again.where == "film.mp4"
    assert take(pool) is not first


def test_another_size_depth_or_codec_is_another_kind() -> None:
    pool = SessionPool(8)
    first = take(pool)
    pool.give_back(first)  # type: ignore[arg-type]
    others = (KIND._replace(headers=b"wider"), KIND._replace(depth=10), KIND._replace(codec="hevc"))
    for other in others:
        assert take(pool, other) is not first


def test_the_session_that_waited_longest_makes_room() -> None:
    pool = SessionPool(2)
    old, young = take(pool), take(pool, KIND._replace(depth=10))
    pool.give_back(old)  # type: ignore[arg-type]
    pool.give_back(young)  # type: ignore[arg-type]
    other = take(pool, KIND._replace(codec="av1"))
    assert (old.open, young.open, other.open) == (False, True, True)


def test_sessions_in_use_are_never_closed() -> None:
    pool = SessionPool(1)
    used = [take(pool) for _ in range(3)]
    assert all(session.open for session in used)
    for session in used:
        pool.give_back(session)  # type: ignore[arg-type]
    assert sum(session.open for session in used) == 1


def test_a_session_that_failed_serves_no_other_film() -> None:
    pool = SessionPool(2)
    broken = take(pool, settles=False)
    pool.give_back(broken)  # type: ignore[arg-type]
    assert not broken.open
    assert take(pool) is not broken


def test_a_pool_of_none_keeps_none() -> None:
    pool = SessionPool()
    only = take(pool)
    pool.give_back(only)  # type: ignore[arg-type]
    assert not only.open


def test_what_could_not_be_made_takes_no_room() -> None:
    def fail() -> None:
        raise VideoError("NVDEC cannot be opened for it")

    pool = SessionPool(1)
    for _ in range(3):
        with pytest.raises(VideoError):
            pool.take(KIND, fail, where="film.mp4")  # type: ignore[arg-type]
    kept = take(pool)
    pool.give_back(kept)  # type: ignore[arg-type]
    assert kept.open


def test_films_of_one_kind_share_a_session_and_their_frames_stay_the_processor_s(gpu: Gpu) -> None:
    first, other = (
        films.Film(ticks=tuple(range(30)), **CODECS[name]).make()
        for name in ("h264 with B-frames", "vp9")
    )
    for number, film in enumerate((first, first, first, other, first)):
        with open_video(film, OPTIONS) as reader:
            expected = [(frame.time, frame.image) for frame in reader]
        with open_video(film, replace(OPTIONS, decoder="nvdec")) as reader:
            found = [(frame.time, frame.image) for frame in reader]
        assert [time for time, _ in found] == [time for time, _ in expected], number
        np.testing.assert_array_equal([one for _, one in found], [one for _, one in expected])
    # One a kind; both wait for the next film.
    assert gpu.made["decoder"] == 2
    assert gpu.live["decoder"] == 2


def test_what_sessions_take_is_said_beforehand() -> None:
    assert nvdec_memory(0, (1920, 1088)) == pytest.approx(0.5)
    assert nvdec_memory(10, (1920, 1088)) == pytest.approx(1.19, abs=0.01)
    assert nvdec_memory(2, (64, 64), depth=10) > nvdec_memory(2, (64, 64))
    assert describe_sessions(10).startswith("10 sessions in one process, at most 1.2 GB")
