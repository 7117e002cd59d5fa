"""Decoding in a process of its own: the same frames, and no harm from bad files."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.colours import SIZE, write_colour_video
from vtloc_runtime.bundle.manifest import Preprocessing
from vtloc_runtime.errors import VideoError
from vtloc_runtime.video import VideoOptions
from vtloc_runtime.video.isolation.chunks import FrameChunk, ReadingEnd, read_here
from vtloc_runtime.video.isolation.decoder_process import DecoderLimits, DecoderProcess

OPTIONS = VideoOptions(preprocessing=Preprocessing(size=SIZE))


@pytest.fixture
def decoder() -> Any:
    with DecoderProcess(DecoderLimits(timeout=60)) as process:
        yield process


def process_id(decoder: DecoderProcess) -> int:
    assert decoder._process is not None
    return decoder._process.pid


def test_it_gives_the_frames_that_reading_here_gives(
    decoder: DecoderProcess, colour_video: Path
) -> None:
    for size in (1, 5, 64):
        here = list(read_here(str(colour_video), OPTIONS, size))
        there = list(decoder.read(str(colour_video), OPTIONS, size))
        assert len(here) == len(there)
        for one, other in zip(here, there, strict=True):
            if isinstance(one, FrameChunk):
                assert isinstance(other, FrameChunk)
                assert np.array_equal(one.images, other.images)
                assert np.array_equal(one.times, other.times)
            else:
                assert one == other


def test_a_video_that_cannot_be_read_says_what_it_would_say_here(
    decoder: DecoderProcess, tmp_path: Path
) -> None:
    (tmp_path / "words.mp4").write_text("words")
    before = None
    for name in ("words.mp4", "gone.mp4"):
        source = str(tmp_path / name)
        with pytest.raises(VideoError) as there:
            list(decoder.read(source, OPTIONS, 8))
        with pytest.raises(VideoError) as here:
            list(read_here(source, OPTIONS, 8))
        assert str(there.value) == str(here.value)
        before = before or process_id(decoder)
    assert process_id(decoder) == before


def test_a_crash_is_an_error_and_the_next_video_is_read(
    decoder: DecoderProcess, tmp_path: Path, colour_video: Path
) -> None:
    long = write_colour_video(tmp_path / "long.mp4", [("red", 60)])
    reading = decoder.read(str(long), OPTIONS, 1)
    next(reading)
    os.kill(process_id(decoder), signal.SIGSEGV)
    with pytest.raises(VideoError, match=r"crashed the decoder \(ended by SIGSEGV\)") as caught:
        list(reading)
    assert caught.value.where == str(long)
    assert isinstance(list(decoder.read(str(colour_video), OPTIONS, 8))[-1], ReadingEnd)


def test_a_decoder_lost_between_videos_is_replaced(
    decoder: DecoderProcess, colour_video: Path
) -> None:
    list(decoder.read(str(colour_video), OPTIONS, 8))
    lost = process_id(decoder)
    os.kill(lost, signal.SIGKILL)
    assert decoder._process is not None
    decoder._process.wait()
    assert list(decoder.read(str(colour_video), OPTIONS, 8))
    assert process_id(decoder) != lost


def test_a_file_that_never_answers_is_given_up(tmp_path: Path, colour_video: Path) -> None:
    with DecoderProcess(DecoderLimits(timeout=60)) as decoder:
        list(decoder.read(str(colour_video), OPTIONS, 8))
        os.mkfifo(tmp_path / "endless.mp4")
        # The child is warm by now, so a short patience measures the file and not the start.
        decoder._limits = DecoderLimits(timeout=0.5)
        with pytest.raises(VideoError):
            list(decoder.read(str(tmp_path / "endless.mp4"), OPTIONS, 8))
        decoder._limits = DecoderLimits(timeout=60)
        assert list(decoder.read(str(colour_video), OPTIONS, 8))


def test_a_stopped_process_is_given_up(decoder: DecoderProcess, colour_video: Path) -> None:
    list(decoder.read(str(colour_video), OPTIONS, 8))
    decoder._limits = DecoderLimits(timeout=0.3)
    os.kill(process_id(decoder), signal.SIGSTOP)
    with pytest.raises(VideoError, match=r"gave no frame for 0\.3 s") as caught:
        list(decoder.read(str(colour_video), OPTIONS, 8))
    assert "--decoder-timeout" in str(caught.value)


def test_a_video_that_needs_too_much_memory_is_refused(
    decoder: DecoderProcess, tmp_path: Path, colour_video: Path
) -> None:
    huge = write_colour_video(tmp_path / "huge.mp4", [("red", 1), ("blue", 1)], size=2048, rate=2)
    list(decoder.read(str(colour_video), OPTIONS, 8))
    status = Path(f"/proc/{process_id(decoder)}/status").read_text()
    enough = 1024 * int(status.split("VmPeak:")[1].split()[0]) + 8 * 2**20
    with DecoderProcess(DecoderLimits(memory=enough, patience=60)) as limited:
        assert list(limited.read(str(colour_video), OPTIONS, 8))
        with pytest.raises(VideoError) as caught:
            list(limited.read(str(huge), OPTIONS, 8))
        assert "--decoder-memory" in str(caught.value)
        assert list(limited.read(str(colour_video), OPTIONS, 8))
    assert list(decoder.read(str(huge), OPTIONS, 8))


def test_a_reading_that_is_given_up_leaves_nothing_behind(
    decoder: DecoderProcess, tmp_path: Path, colour_video: Path
) -> None:
    long = write_colour_video(tmp_path / "long.mp4", [("red", 60)])
    reading = decoder.read(str(long), OPTIONS, 1)
    next(reading)
    reading.close()
    chunks = list(decoder.read(str(colour_video), OPTIONS, 64))
    assert isinstance(chunks[0], FrameChunk)
    assert len(chunks[0].times) == 12


def test_closing_ends_a_reading_in_another_thread(tmp_path: Path) -> None:
    long = write_colour_video(tmp_path / "long.mp4", [("red", 60)])
    decoder = DecoderProcess()
    failures: list[VideoError] = []

    def read() -> None:
        try:
            for _ in decoder.read(str(long), OPTIONS, 1):
                time.sleep(0.05)
        except VideoError as error:
            failures.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    time.sleep(0.3)
    decoder.close()
    thread.join(timeout=30)
    assert not thread.is_alive()
    assert "stopped" in str(failures[0])
    with pytest.raises(VideoError, match="stopped"):
        list(decoder.read(str(long), OPTIONS, 1))
