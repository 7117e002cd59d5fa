"""A long video that several workers encode together is the one that a single worker encodes."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.colours import COLOURS, write_colour_bundle, write_colour_video
from vtloc_runtime.batch.workers.worker_pool import PipelineOptions, run_tasks
from vtloc_runtime.errors import VideoError
from vtloc_runtime.localize.encoding import parted_encoding
from vtloc_runtime.localize.encoding.frame_features import PART
from vtloc_runtime.localize.encoding.parted_encoding import FrameRange, divide
from vtloc_runtime.localize.localizer import Localizer
from vtloc_runtime.video import Limits, VideoOptions
from vtloc_runtime.video.isolation.chunks import Reading, ReadingEnd, read_here


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty minutes; scenes of many lengths, and one that lasts for several parts."""
    chance = np.random.default_rng(1)
    lengths = [*chance.integers(1, 40, 20), 700]
    scenes = [(list(COLOURS)[place % 6], float(length)) for place, length in enumerate(lengths)]
    return write_colour_video(tmp_path_factory.mktemp("f") / "film.mp4", scenes, rate=2, group=8)


@pytest.fixture(scope="module")
def localizer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Localizer]:
    with Localizer.open(write_colour_bundle(tmp_path_factory.mktemp("b")), threads=1) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _divide_small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parted_encoding, "_WORTH_DIVIDING", 0)


def together(localizer: Localizer, films: list[Path], workers: int, **options: Any) -> list[Any]:
    pipeline = PipelineOptions(workers=workers, in_order=True, **options)
    return list(
        run_tasks(lambda one, read: localizer.encode_video(one, read=read), films, pipeline)
    )


class Recorder:
    """Notes what is read, and where."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.instants: list[tuple[Any, ...] | None] = []
        from vtloc_runtime.localize.encoding.frame_encoder import FrameEncoder

        encode = FrameEncoder.encode

        def recorded(own: Any, source: Any, reading: VideoOptions, *rest: Any, **named: Any) -> Any:
            if reading.strategy == "needed":
                self.instants.append(reading.instants)
            return encode(own, source, reading, *rest, **named)

        monkeypatch.setattr(FrameEncoder, "encode", recorded)


@pytest.mark.parametrize("isolated", [False, True])
def test_the_same_bits_come_of_it(
    localizer: Localizer, film: Path, monkeypatch: pytest.MonkeyPatch, isolated: bool
) -> None:
    alone = localizer.encode_video(film)
    assert len(alone) > 4 * PART
    read = Recorder(monkeypatch)
    for video in together(localizer, [film, film], 3, isolated=isolated):
        np.testing.assert_array_equal(video.rows, alone.rows)
        np.testing.assert_array_equal(video.index, alone.index)
        np.testing.assert_array_equal(video.times, alone.times)
        assert (video.duration, video.warnings) == (alone.duration, alone.warnings)
    assert len(read.instants) > 2
    assert None not in read.instants


def test_progress_adds_up_over_all_parts(localizer: Localizer, film: Path) -> None:
    told: list[float] = []
    pipeline = PipelineOptions(workers=2, isolated=False)

    def work(one: Path, read: Any) -> Any:
        return localizer.encode_video(one, read=read, progress=told.append)

    (video,) = run_tasks(work, [film], pipeline)
    assert told == sorted(told)
    assert told[-1] == len(video)


def test_a_file_without_an_index_is_read_whole(
    localizer: Localizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = write_colour_video(tmp_path / "film.avi", [("red", 300), ("blue", 300)], rate=1)
    read = Recorder(monkeypatch)
    (video,) = together(localizer, [film], 2, isolated=False)
    assert read.instants == [None]
    assert len(video) == 600


def test_parts_that_disagree_are_read_again_as_a_whole(
    localizer: Localizer, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vtloc_runtime.batch.workers import worker_pool

    def odd(source: Any, options: VideoOptions, size: int) -> Reading:
        for part in parted_read(source, options, size):
            if isinstance(part, ReadingEnd) and options.instants and options.instants[0] > PART:
                yield ReadingEnd(part.duration, ("2 damaged packets were passed over",))
            else:
                yield part

    parted_read = read_here
    monkeypatch.setattr(worker_pool, "read_here", odd)
    read = Recorder(monkeypatch)
    (video,) = together(localizer, [film], 2, isolated=False)
    assert read.instants[-1] is None
    assert video.warnings == ()


def test_limits_hold_for_every_part(localizer: Localizer, film: Path) -> None:
    def work(one: Path, read: Any) -> Any:
        options = VideoOptions(limits=Limits(frames=600))
        with pytest.raises(VideoError, match="more than 600 frames"):
            localizer.encode_video(one, options, read=read)
        with pytest.raises(VideoError, match="takes more than"):
            localizer.encode_video(one, timeout=1e-4, read=read)

    list(run_tasks(work, [film], PipelineOptions(workers=2, isolated=False)))


def test_parts_begin_where_a_keyframe_is_near() -> None:
    keyframes = np.array([0.0, 250.0, 255.0, 400.0, 760.0, 1020.0])
    parts = divide(ReadingEnd(1100.0, (), keyframes), Fraction(1))
    # Nothing is near second 512.
    assert [part.start for part in parts] == [0, 256, 768, 1024]
    assert all(one.stop == other.start for one, other in pairwise(parts))
    assert parts[-1].stop > 1100


def test_one_group_of_pictures_is_one_part() -> None:
    assert len(divide(ReadingEnd(5000.0, (), np.array([0.0])), Fraction(1))) == 1
    assert len(divide(ReadingEnd(5000.0), Fraction(1))) == 1


def test_instants_of_a_part_are_exact() -> None:
    rate = Fraction(30000, 1001)
    assert FrameRange(3, 5).instants(rate) == (3 / rate, 4 / rate)
