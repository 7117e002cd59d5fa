"""Small files that ask for hours of work are refused at once; healthy ones are not."""

from __future__ import annotations

import io
import time
from fractions import Fraction

import av
import numpy as np
import pytest

from tests.support import films
from vtloc_runtime.errors import VideoError
from vtloc_runtime.video import FrameSequence, Limits, VideoOptions, open_video
from vtloc_runtime.video.demuxing import decode_budget
from vtloc_runtime.video.demuxing.decode_budget import DecodeBudget
from vtloc_runtime.video.options import DecodeStrategy

DAY = 24 * 3600


@pytest.mark.parametrize("strategy", ["needed", "everything"])
@pytest.mark.parametrize(
    ("length", "container"), [(DAY + 2, "mp4"), (DAY + 2, "matroska"), (40 * DAY, "matroska")]
)
def test_a_gap_beyond_the_limit_costs_nothing(
    length: int, container: str, strategy: DecodeStrategy
) -> None:
    film = films.Film(ticks=(0, 1, 20 * length), container=container, options={"bf": "0"})
    begun = time.process_time()
    with pytest.raises(VideoError, match="lasts longer than 86400 s"):
        list(open_video(film.make(), VideoOptions(strategy=strategy)))
    assert time.process_time() - begun < 2


@pytest.mark.parametrize("strategy", ["needed", "everything"])
def test_more_frames_than_the_limit_are_foreseen(strategy: DecodeStrategy) -> None:
    data = films.Film(ticks=(0, 1, 20 * 3600), container="matroska").make()
    options = VideoOptions(strategy=strategy, frames_per_second=1000)
    with pytest.raises(VideoError, match="gives more than 500000 frames"):
        list(open_video(data, options))
    with open_video(data, VideoOptions(strategy=strategy, instants=(0.0, 2.0))) as reader:
        assert len(list(reader)) == 2


@pytest.mark.parametrize("strategy", ["needed", "everything"])
def test_a_held_picture_is_one_object(strategy: DecodeStrategy) -> None:
    data = films.Film(ticks=(0, 20, 20 * 600), container="matroska").make()
    with open_video(data, VideoOptions(strategy=strategy)) as reader:
        frames = list(reader)
    assert len(frames) == 601
    assert len({id(frame.image) for frame in frames}) == 3


@pytest.mark.parametrize("strategy", ["needed", "everything"])
def test_a_damaged_picture_before_a_gap_is_fetched_again_once(strategy: DecodeStrategy) -> None:
    film = films.Film(
        ticks=(0, 1, 2, 20 * 7200), codec="libvpx", container="matroska", options={"g": "2"}
    )
    target = io.BytesIO()
    with av.open(io.BytesIO(film.make()), "r") as source, av.open(target, "w", "matroska") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if packet.size:
                copy = av.Packet(bytes(packet.size) if number == 2 else bytes(packet))
                copy.pts, copy.dts, copy.time_base = packet.pts, packet.pts, packet.time_base
                copy.is_keyframe, copy.stream = packet.is_keyframe, stream
                out.mux(copy)
    begun = time.process_time()
    with open_video(target.getvalue(), VideoOptions(strategy=strategy)) as reader:
        images = {id(image) for image in [frame.image for frame in reader]}
    assert len(images) <= 4
    assert time.process_time() - begun < 8


@pytest.mark.parametrize(
    "times", [[0, 1, 2**62], [0, 1, DAY + 1], [-(2.0**1000), 0, 2.0**1000], [0, 1, 1e300]]
)
def test_pictures_with_times_beyond_the_limit_are_refused_at_once(times: list[float]) -> None:
    begun = time.process_time()
    with pytest.raises(VideoError, match="lasts longer"):
        list(open_video(FrameSequence(np.zeros((3, 8, 8, 3), np.uint8), times)))
    assert time.process_time() - begun < 1


def test_pictures_that_give_too_many_frames_are_refused_at_once() -> None:
    sequence = FrameSequence(np.zeros((2, 8, 8, 3), np.uint8), [0, 1000])
    with pytest.raises(VideoError, match="more than 10 frames"):
        list(open_video(sequence, VideoOptions(limits=Limits(frames=10))))


@pytest.mark.parametrize("strategy", ["needed", "everything"])
def test_a_small_file_that_unfolds_into_huge_pictures_is_refused(
    strategy: DecodeStrategy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode_budget, "_FREE_BYTES", 2 * 10**7)
    film = films.Film(ticks=(0, 1), codec="gif", container="gif", pixels="rgb8", size=(2000, 1500))
    # Two pictures, then hundreds that change one pixel, a fiftieth of a second each.
    data = film.make()
    frame = bytes.fromhex("21f90404020000002c0000000001000100000202440100")
    bomb = data[: data.rindex(b"\x3b")] + frame * 500 + b"\x3b"
    begun = time.process_time()
    with pytest.raises(VideoError, match="decodes to far more pictures"):
        list(open_video(bomb, VideoOptions(strategy=strategy)))
    assert time.process_time() - begun < 10


@pytest.mark.parametrize(
    ("width", "height", "pixels", "packet"),
    [(3840, 2160, "yuv420p", 20), (3840, 2160, "yuv420p10le", 30), (7680, 4320, "yuv420p", 60)],
)
def test_an_hour_at_sixty_pictures_a_second_of_a_still_screen_is_paid_for(
    width: int, height: int, pixels: str, packet: int
) -> None:
    budget = DecodeBudget("h264", Limits().pixels, where="film.mp4")
    pixel_format = av.VideoFormat(pixels)
    budget.check(width, height)
    for _ in range(3600 * 60):
        budget.pay(packet, 1 / 60)
        budget.spend(width, height, pixel_format)


def test_a_long_healthy_film_is_read() -> None:
    film = films.Film(ticks=tuple(range(0, 3600 * 8, 40)), time_base=Fraction(1, 8), codec="mpeg4")
    with open_video(film.make(), VideoOptions()) as reader:
        assert sum(1 for _ in reader) == 3596
