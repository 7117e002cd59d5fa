"""A decoder that was taken over: whatever it says, the reading ends in one error and in time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.colours import SIZE
from tests.support.hostile_decoder import (
    CONVERSATIONS,
    OPTIONS,
    PICTURE,
    HostileDecoder,
    taken_over,
)
from vtloc_runtime.bundle.manifest import Preprocessing
from vtloc_runtime.errors import BackendError, VideoError
from vtloc_runtime.video import VideoOptions
from vtloc_runtime.video.isolation.chunks import FrameChunk, ReadingEnd
from vtloc_runtime.video.isolation.decoder_process import DecoderLimits, DecoderProcess

TIMEOUT = 0.4


@pytest.fixture
def take_over() -> Iterator[Callable[..., None]]:
    """Has every decoder that is started from here on behave as a conversation says."""
    with ExitStack() as stack:
        yield lambda talk, ready=None: stack.enter_context(taken_over(talk, ready))


@pytest.fixture
def video(tmp_path: Path) -> str:
    (tmp_path / "film.mp4").write_bytes(b"any")
    return str(tmp_path / "film.mp4")


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_it_ends_in_one_error_and_in_time(
    name: str, take_over: Any, video: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    take_over(CONVERSATIONS[name])
    with DecoderProcess(DecoderLimits(timeout=TIMEOUT)) as decoder:
        began = time.monotonic()
        with pytest.raises(VideoError) as caught:
            list(decoder.read(video, OPTIONS, 4))
        assert time.monotonic() - began < 5
        assert caught.value.where == video
        assert len(str(caught.value)) < 1000
        # Nothing of that process is believed any more.
        assert decoder._process is None
    assert not (tmp_path / "unpickled").exists()


def test_an_honest_decoder_is_believed(take_over: Any, video: str) -> None:
    def talk(decoder: HostileDecoder) -> None:
        for number in range(6):
            decoder.picture(10.0 * number, bytes([number]) * len(PICTURE))
            decoder.again(10.0 * number, 9)
        decoder.finish(60.5, ["two packets\nare \x1b[31mdamaged"])

    take_over(talk)
    with DecoderProcess(DecoderLimits(timeout=5)) as decoder:
        for _ in range(2):
            parts = list(decoder.read(video, OPTIONS, 4))
            chunks = [part for part in parts if isinstance(part, FrameChunk)]
            frames = np.concatenate([chunk.images[chunk.index] for chunk in chunks])
            times = np.concatenate([chunk.times for chunk in chunks])
            assert frames[:, 0, 0, 0].tolist() == [number // 10 for number in range(60)]
            assert times.tolist() == [10.0 * (number // 10) for number in range(60)]
            assert all(len(chunk.images) <= 4 for chunk in chunks)
            # Each picture crosses once, and is held once in a chunk.
            assert [len(chunk.images) for chunk in chunks] == [4, 2]
            assert parts[-1] == ReadingEnd(60.5, ("two packets\ufffdare \ufffd[31mdamaged",))


def test_repeats_fill_several_chunks(take_over: Any, video: str) -> None:
    def talk(decoder: HostileDecoder) -> None:
        decoder.picture(0)
        decoder.again(0, 9999)
        decoder.finish(20_000)

    take_over(talk)
    options = VideoOptions(preprocessing=Preprocessing(size=SIZE))
    with DecoderProcess() as decoder:
        chunks = [part for part in decoder.read(video, options, 4) if isinstance(part, FrameChunk)]
    assert sum(len(chunk.times) for chunk in chunks) == 10_000
    assert all(len(chunk.images) == 1 and chunk.index.tolist()[0] == 0 for chunk in chunks)


def test_messages_left_over_from_one_video_end_the_next(take_over: Any, video: str) -> None:
    def talk(decoder: HostileDecoder) -> None:
        decoder.picture(0)
        decoder.finish(1)
        decoder.picture(0)

    take_over(talk)
    with DecoderProcess(DecoderLimits(timeout=5)) as decoder:
        list(decoder.read(video, OPTIONS, 4))
        with pytest.raises(VideoError, match="the answer to request 1 was sent for request 2"):
            list(decoder.read(video, OPTIONS, 4))
        assert list(decoder.read(video, OPTIONS, 4))


def test_the_deadline_counts_frames_and_not_chunks(take_over: Any, video: str) -> None:
    def talk(decoder: HostileDecoder) -> None:
        for number in range(10):
            decoder.picture(number)
            time.sleep(0.15)
        decoder.finish(10)

    take_over(talk)
    with DecoderProcess(DecoderLimits(timeout=1.0)) as decoder:
        assert len(list(decoder.read(video, OPTIONS, 64))) == 2


def test_time_that_the_receiver_takes_is_not_the_decoders(take_over: Any, video: str) -> None:
    def talk(decoder: HostileDecoder) -> None:
        for number in range(4):
            decoder.picture(number)
        decoder.finish(4)

    take_over(talk)
    with DecoderProcess(DecoderLimits(timeout=0.3)) as decoder:
        given = []
        for part in decoder.read(video, OPTIONS, 1):
            given.append(part)
            time.sleep(0.4)
    assert len(given) == 5


def test_a_whole_video_may_take_so_long(take_over: Any, video: str) -> None:
    def talk(decoder: HostileDecoder) -> None:
        while not decoder.end.wait(0.05):
            decoder.picture(0)

    take_over(talk)
    with (
        DecoderProcess(DecoderLimits(timeout=60, video_timeout=0.5)) as decoder,
        pytest.raises(VideoError, match=r"takes more than 0\.5 s to read.*--video-timeout"),
    ):
        list(decoder.read(video, OPTIONS, 1))


def test_a_decoder_that_begins_with_nonsense_does_not_start(take_over: Any, video: str) -> None:
    take_over(lambda _: None, ready={"type": "end", "duration": 1, "warnings": []})
    with DecoderProcess() as decoder, pytest.raises(BackendError, match="does not start"):
        list(decoder.read(video, OPTIONS, 1))


def test_an_incomplete_sandbox_is_refused_where_it_is_required(take_over: Any, video: str) -> None:
    ready = {"type": "ready", "held": {"seccomp": ""}, "missing": {"landlock": "switched off"}}
    take_over(lambda d: (d.picture(0), d.finish()), ready=ready)
    with DecoderProcess() as decoder:
        assert list(decoder.read(video, OPTIONS, 1))
    with DecoderProcess(DecoderLimits(require_sandbox=True)) as decoder:
        for attempt in (lambda: list(decoder.read(video, OPTIONS, 1)), decoder.start):
            with pytest.raises(BackendError, match=r"without landlock \(switched off\)"):
                attempt()


@pytest.mark.parametrize(
    "seconds",
    [[2.0, 1.0], [0.0, 0.0], [-1.0], [float("nan")], [float("inf")], [1001.0], [0.0] * 300],
    ids=["falling", "repeated", "negative", "not a number", "endless", "too late", "too many"],
)
@pytest.mark.parametrize("kind", ["keyframes", "hidden_cuts"])
def test_times_of_an_outline_are_checked(tmp_path: Path, seconds: list[float], kind: str) -> None:
    (tmp_path / "film.mp4").write_bytes(b"any")

    def talk(decoder: HostileDecoder) -> None:
        decoder.finish(3.0, **{kind: len(seconds)})
        decoder.raw(np.array(seconds).tobytes())

    outline = replace(OPTIONS, strategy="outline")
    with (
        taken_over(talk),
        DecoderProcess() as decoder,
        pytest.raises(VideoError, match="invalid message"),
    ):
        list(decoder.read(str(tmp_path / "film.mp4"), outline, 4))


def test_times_of_an_outline_arrive(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(b"any")

    def talk(decoder: HostileDecoder) -> None:
        decoder.finish(3.0, keyframes=2, hidden_cuts=3)
        decoder.raw(np.array([0.0, 2.5, 0.5, 1.25, 2.75]).tobytes())

    outline = replace(OPTIONS, strategy="outline")
    with taken_over(talk), DecoderProcess() as decoder:
        (ending,) = decoder.read(str(tmp_path / "film.mp4"), outline, 4)
    assert isinstance(ending, ReadingEnd)
    assert ending.keyframes.tolist() == [0.0, 2.5]
    assert ending.hidden_cuts.tolist() == [0.5, 1.25, 2.75]
