"""Small files that ask for a lot: each is refused early, or costs what it shows."""

from __future__ import annotations

import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.support.colours import COLOURS, SIZE
from vtloc_runtime.bundle.manifest import Preprocessing
from vtloc_runtime.errors import VideoError
from vtloc_runtime.localize.localizer import Localizer
from vtloc_runtime.video import Frame, FrameSequence, Limits, VideoOptions, open_video
from vtloc_runtime.video.isolation.chunks import FrameChunk, ReadingEnd, read_here
from vtloc_runtime.video.isolation.decoder_process import DecoderProcess

OPTIONS = VideoOptions(preprocessing=Preprocessing(size=SIZE))
DAY = 86_400


def write_pictures(path: Path, seconds: list[float], colours: list[str]) -> Path:
    """A film that shows a few pictures, each from a second on."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=1)
        stream.width = stream.height = 16
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, 1000)
        for second, colour in zip(seconds, colours, strict=True):
            picture = np.empty((16, 16, 3), dtype=np.uint8)
            picture[:] = COLOURS[colour]
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = round(1000 * second), Fraction(1, 1000)
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return path


@pytest.fixture(params=["here", "there"])
def read(request: pytest.FixtureRequest) -> Any:
    if request.param == "here":
        yield read_here
        return
    with DecoderProcess() as decoder:
        yield decoder.read


def test_a_picture_that_stays_is_sent_and_held_once(read: Any, tmp_path: Path) -> None:
    film = write_pictures(tmp_path / "film.mkv", [0, 10_000, 20_000], ["red", "blue", "red"])
    began = time.monotonic()
    parts = list(read(str(film), OPTIONS, 16))
    assert time.monotonic() - began < 10
    chunks = [part for part in parts if isinstance(part, FrameChunk)]
    assert sum(len(chunk.times) for chunk in chunks) == 20_001
    # Two pictures and the last one's second, and one more for each further chunk.
    assert sum(len(chunk.images) for chunk in chunks) <= 3 + len(chunks)
    times = np.concatenate([chunk.times for chunk in chunks])
    assert times.tolist() == [0.0] * 10_000 + [10_000.0] * 10_000 + [20_000.0]
    for chunk in chunks:
        steps = np.diff(chunk.index)
        assert chunk.index[0] == 0
        assert chunk.index[-1] == len(chunk.images) - 1
        assert ((steps == 0) | (steps == 1)).all()


def test_a_video_of_more_than_a_day_is_refused_before_it_is_read(read: Any, tmp_path: Path) -> None:
    film = write_pictures(tmp_path / "film.mkv", [0, 499_000], ["red", "blue"])
    began = time.monotonic()
    with pytest.raises(VideoError, match="lasts longer than 86400 s") as caught:
        list(read(str(film), OPTIONS, 16))
    assert time.monotonic() - began < 5
    assert "--max-duration" in str(caught.value)


def test_a_day_is_not_too_long(read: Any, tmp_path: Path) -> None:
    film = write_pictures(tmp_path / "film.mkv", [0, DAY - 10], ["red", "blue"])
    rare = VideoOptions(frames_per_second=0.01, preprocessing=Preprocessing(size=SIZE))
    ending = list(read(str(film), rare, 16))[-1]
    assert isinstance(ending, ReadingEnd)
    assert ending.duration == pytest.approx(DAY - 9, abs=1.1)


def test_reading_may_take_so_long_by_the_wall(colour_video: Path) -> None:
    options = VideoOptions(limits=Limits(wall_seconds=0.2))
    with open_video(colour_video, options) as reader:
        frames = iter(reader)
        next(frames)
        time.sleep(0.3)
        with pytest.raises(VideoError, match=r"takes more than 0\.2 s"):
            next(frames)


def test_times_never_fall_even_where_a_damaged_file_s_do(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = np.zeros((SIZE, SIZE, 3), dtype=np.uint8)
    times = [-80_000.0, 0.5, 2.0, 1.0, 3.0]
    frames = [Frame(picture, time, asked) for asked, time in enumerate(times)]
    with open_video(FrameSequence(picture[None], [0.0]), OPTIONS) as reader:
        monkeypatch.setattr(reader, "_frames", lambda: iter(frames))
        assert [frame.time for frame in reader] == [0.0, 0.5, 2.0, 2.0, 3.0]


def test_features_of_repeated_pictures_are_right_whatever_the_chunks(
    colour_bundle: Path, tmp_path: Path
) -> None:
    film = write_pictures(
        tmp_path / "film.mkv", [0, 7, 9, 300, 301], ["red", "blue", "green", "cyan", "red"]
    )
    expected = ["red"] * 7 + ["blue"] * 2 + ["green"] * 291 + ["cyan", "red"]
    whole = []
    for batch in (1, 2, 16):
        with (
            Localizer.open(colour_bundle, threads=1, batch=batch) as localizer,
            DecoderProcess() as decoder,
        ):
            whole += [
                localizer.encode_video(str(film), read=way) for way in (read_here, decoder.read)
            ]
    plain = whole[0]
    for video in whole:
        assert np.array_equal(video.features, plain.features)
        assert np.array_equal(video.times, plain.times)
        assert video.duration == plain.duration
    firsts = [expected.index(colour) for colour in ("red", "blue", "green", "cyan")]
    for row, colour in enumerate(expected):
        same = [
            np.allclose(plain.features[row], plain.features[first], atol=0.02) for first in firsts
        ]
        assert same == [colour == name for name in ("red", "blue", "green", "cyan")], row


def test_a_callback_that_fails_does_not_cost_the_answer(
    colour_bundle: Path, colour_video: Path
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("full disk")

    with Localizer.open(colour_bundle, threads=1, observer=fail) as localizer:
        with pytest.warns(UserWarning, match="a callback failed: ValueError: full disk"):
            video = localizer.encode_video(str(colour_video), progress=fail)
        with pytest.warns(UserWarning, match="full disk"):
            answer = localizer.localize(video, "red")
        assert answer.best is not None
