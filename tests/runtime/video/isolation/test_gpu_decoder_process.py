"""One process that decodes several videos at once, and what is left of them where it is lost.

The process is the one that a GPU gets; here it decodes on the processor, which any machine can.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.colours import SIZE, write_colour_video
from tests.support.crashing_decoder import crash_on, hang_on
from tests.support.waiting import eventually
from vtloc_runtime.bundle.manifest import Preprocessing
from vtloc_runtime.errors import BackendError, VideoError
from vtloc_runtime.video import VideoOptions
from vtloc_runtime.video.isolation.chunks import FrameChunk, read_here
from vtloc_runtime.video.isolation.decoder_process import DecoderLimits
from vtloc_runtime.video.isolation.gpu_decoder_process import GpuDecoderProcess

OPTIONS = VideoOptions(preprocessing=Preprocessing(size=SIZE))
COLOURS = ("red", "green", "blue", "yellow")


@pytest.fixture
def decoder() -> Iterator[GpuDecoderProcess]:
    with GpuDecoderProcess(DecoderLimits(timeout=30)) as process:
        yield process


@pytest.fixture
def films(tmp_path: Path) -> list[str]:
    return [
        str(write_colour_video(tmp_path / f"{first}.mp4", [(first, 1), (second, 1)] * (20 + 5 * n)))
        for n, (first, second) in enumerate(zip(COLOURS, COLOURS[1:] + COLOURS[:1], strict=True))
    ]


def process_id(decoder: GpuDecoderProcess) -> int:
    assert decoder._current is not None
    assert decoder._current.process._process is not None
    return decoder._current.process._process.pid


def frames(parts: Any) -> Any:
    chunks = [part for part in parts if isinstance(part, FrameChunk)]
    images = np.concatenate([chunk.images[chunk.index] for chunk in chunks])
    return images, np.concatenate([chunk.times for chunk in chunks])


def assert_whole(parts: Any, film: str) -> None:
    for found, expected in zip(frames(parts), frames(read_here(film, OPTIONS, 4)), strict=True):
        np.testing.assert_array_equal(found, expected)


def begin(decoder: GpuDecoderProcess, film: str) -> tuple[Any, list[Any]]:
    """A reading that has given its first chunk."""
    reading = decoder.read(film, OPTIONS, 4)
    return reading, [next(reading)]


def test_videos_are_read_at_once_by_one_process(
    decoder: GpuDecoderProcess, films: list[str]
) -> None:
    begun = [begin(decoder, film) for film in films]
    first = process_id(decoder)
    for (reading, parts), film in zip(begun, films, strict=True):
        assert_whole([*parts, *reading], film)
    assert process_id(decoder) == first
    # Lines and their threads end with their videos.
    eventually(lambda: len(list(Path(f"/proc/{first}/task").iterdir())) == 1)


def test_where_the_process_is_lost_its_videos_are_read_alone(
    decoder: GpuDecoderProcess, films: list[str]
) -> None:
    begun = [begin(decoder, film) for film in films]
    first = process_id(decoder)
    os.kill(first, signal.SIGSEGV)
    for (reading, parts), film in zip(begun, films, strict=True):
        assert_whole([*parts, *reading], film)
    # The next video finds a new process.
    assert_whole(list(decoder.read(films[0], OPTIONS, 4)), films[0])
    assert process_id(decoder) != first


def test_the_video_that_crashes_the_process_is_the_one_that_fails(
    decoder: GpuDecoderProcess, films: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fatal = write_colour_video(tmp_path / "fatal.mp4", [("red", 9)])
    crash_on(fatal, monkeypatch)

    def read(film: str) -> Any:
        try:
            return list(decoder.read(film, OPTIONS, 4))
        except VideoError as error:
            return error

    asked = [*films[:2], str(fatal), *films[2:]]
    with ThreadPoolExecutor(len(asked)) as threads:
        found = dict(zip(asked, threads.map(read, asked), strict=True))
    error = found.pop(str(fatal))
    assert isinstance(error, VideoError)
    assert "crashed the decoder (ended by SIGSEGV" in error.what
    for film, parts in found.items():
        assert_whole(parts, film)


def test_a_video_that_is_given_up_leaves_the_process_to_the_others(
    decoder: GpuDecoderProcess, films: list[str]
) -> None:
    kept, parts = begin(decoder, films[0])
    given_up, _ = begin(decoder, films[1])
    first = process_id(decoder)
    given_up.close()
    assert_whole([*parts, *kept], films[0])
    assert_whole(list(decoder.read(films[1], OPTIONS, 4)), films[1])
    assert process_id(decoder) == first


def test_a_video_that_hangs_is_late_alone_and_keeps_no_other_from_its_end(
    films: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = write_colour_video(tmp_path / "endless.mp4", [("red", 9)])
    hang_on(endless, monkeypatch)
    with GpuDecoderProcess(DecoderLimits(timeout=2)) as decoder:
        kept, parts = begin(decoder, films[0])
        first = process_id(decoder)
        with pytest.raises(VideoError, match="gave no frame for 2 s"):
            list(decoder.read(str(endless), OPTIONS, 4))
        # Its thread may hang for ever, so later videos go to another process.
        later, more = begin(decoder, films[1])
        assert process_id(decoder) != first
        assert_whole([*parts, *kept], films[0])
        assert not Path(f"/proc/{first}").exists()
        assert_whole([*more, *later], films[1])


def test_closing_ends_what_is_under_way(
    decoder: GpuDecoderProcess, films: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = write_colour_video(tmp_path / "endless.mp4", [("red", 9)])
    hang_on(endless, monkeypatch)
    decoder.start()
    process = process_id(decoder)
    threading.Timer(0.5, decoder.close).start()
    with pytest.raises(VideoError, match="reading was stopped"):
        list(decoder.read(str(endless), OPTIONS, 4))
    assert not Path(f"/proc/{process}").exists()
    with pytest.raises(VideoError, match="reading was stopped"):
        list(decoder.read(films[0], OPTIONS, 4))


def test_a_sandbox_that_is_required_is_missing_on_a_gpu(films: list[str]) -> None:
    with (
        GpuDecoderProcess(DecoderLimits(require_sandbox=True)) as decoder,
        pytest.raises(BackendError, match="sandbox is not complete"),
    ):
        list(decoder.read(films[0], OPTIONS, 4))
