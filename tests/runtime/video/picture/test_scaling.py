"""How a stored picture becomes the one that is seen."""

from __future__ import annotations

import io
import struct
from dataclasses import replace
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest

from tests.support import films
from vtloc_runtime.bundle.manifest import Preprocessing
from vtloc_runtime.video import FrameSequence, VideoOptions, open_video

UNIT = 1 << 16
MATRICES = {
    "upright": (1, 0, 0, 1),
    "clockwise": (0, 1, -1, 0),
    "upside down": (-1, 0, 0, -1),
    "counterclockwise": (0, -1, 1, 0),
    "mirrored": (-1, 0, 0, 1),
    "mirrored top to bottom": (1, 0, 0, -1),
    "transposed": (0, 1, 1, 0),
    "anti-transposed": (0, -1, -1, 0),
}
UNDO = {
    "upright": lambda image: image,
    "clockwise": lambda image: np.rot90(image, 1),
    "upside down": lambda image: np.rot90(image, 2),
    "counterclockwise": lambda image: np.rot90(image, -1),
    "mirrored": lambda image: image[:, ::-1],
    "mirrored top to bottom": lambda image: image[::-1],
    "transposed": lambda image: image.transpose(1, 0, 2),
    "anti-transposed": lambda image: np.rot90(image, 2).transpose(1, 0, 2),
}


def turned(data: bytes, matrix: tuple[int, int, int, int]) -> bytes:
    """The MP4 with another display matrix in its track header."""
    a, b, c, d = (value * UNIT for value in matrix)
    place = data.index(b"tkhd") + 44
    return data[:place] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + data[place + 36 :]


def still(picture: np.ndarray, codec: str = "png", pixels: str = "rgb24") -> bytes:
    """One picture as an image file."""
    context = av.CodecContext.create(codec, "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height, context.pix_fmt = picture.shape[1], picture.shape[0], pixels
    context.time_base = Fraction(1, 25)
    kind = "rgba" if picture.shape[2] == 4 else "rgb24"
    frame = av.VideoFrame.from_ndarray(picture, kind).reformat(format=pixels)
    packets = [*context.encode(frame), *context.encode(None)]
    return b"".join(bytes(packet) for packet in packets)


def only(source: Any, **preprocessing: Any) -> np.ndarray:
    """The one frame of a still picture."""
    options = VideoOptions(preprocessing=Preprocessing(**preprocessing))
    (frame,) = open_video(source, options)
    return frame.image


@pytest.mark.parametrize("turn", MATRICES)
def test_turns_and_flips_are_shown(turn: str) -> None:
    data = turned(films.Film(ticks=tuple(range(21)), first_number=77).make(), MATRICES[turn])
    with open_video(data, films.whole()) as reader:
        frames = [replace(frame, image=UNDO[turn](frame.image)) for frame in reader]
    assert films.numbers(frames) == [77, 97]


@pytest.mark.parametrize("turn", ["upright", "clockwise"])
def test_the_shorter_side_fills_the_square_and_the_centre_is_kept(turn: str) -> None:
    picture = np.zeros((40, 80, 3), np.uint8)
    picture[:, 20:60] = 255  # the centre square is white
    frames = FrameSequence(picture[None], [0.0])
    image = only(frames, size=32)
    assert image.shape == (32, 32, 3)
    assert image[:, 2:-2].min() > 250
    assert np.abs(image[:, 0].astype(int) - image[:, -1]).max() <= 2


@pytest.mark.parametrize(("width", "height"), [(65, 49), (33, 97), (8, 300), (301, 9)])
def test_odd_sizes_keep_every_row_and_column(width: int, height: int) -> None:
    picture = np.full((height, width, 3), 200, np.uint8)
    assert abs(only(FrameSequence(picture[None], [0.0])).astype(int) - 200).max() <= 1


def test_pixels_that_are_not_square_are_shown_as_wide_as_they_are() -> None:
    target = io.BytesIO()
    with av.open(target, "w", "matroska") as out:
        stream = out.add_stream("libx264", rate=1)
        stream.width, stream.height, stream.pix_fmt = 40, 80, "yuv444p"
        stream.options = {"x264-params": "sar=4/1", "crf": "5"}
        picture = np.zeros((80, 40, 3), np.uint8)
        picture[:, 10:30] = 255  # 80 wide as shown: the centre square of 160 by 80
        out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        out.mux(stream.encode(None))
    image = only(target.getvalue(), size=32)
    assert image[:, 3:-3].min() > 225


@pytest.mark.parametrize(("height", "matrix"), [(480, 5), (720, 1)])
def test_an_unnamed_matrix_is_the_one_that_goes_with_the_size(height: int, matrix: int) -> None:
    red = np.zeros((height, 64, 3), np.uint8)
    red[..., 0] = 200
    target = io.BytesIO()
    with av.open(target, "w", "matroska") as out:
        stream = out.add_stream("ffv1", rate=1)
        stream.width, stream.height, stream.pix_fmt = 64, height, "yuv444p"
        frame = av.VideoFrame.from_ndarray(red, "rgb24")
        coded = frame.reformat(format="yuv444p", dst_colorspace=matrix, dst_color_range=1)
        coded.colorspace = 2
        out.mux(stream.encode(coded))
        out.mux(stream.encode(None))
    image = only(target.getvalue(), size=16)
    assert np.abs(image.astype(int) - [200, 0, 0]).max() <= 3


def test_full_range_is_told_from_limited_range() -> None:
    gray = np.full((64, 64, 3), 250, np.uint8)
    assert abs(only(still(gray, "mjpeg", "yuvj420p"), size=16).astype(int) - 250).max() <= 3


def test_what_is_transparent_lies_over_black() -> None:
    picture = np.full((64, 64, 4), 255, np.uint8)
    picture[..., 3] = 0
    picture[:, 32:, 3] = 128
    image = only(still(picture, "png", "rgba"), size=32)
    assert image[:, :14].max() == 0
    assert abs(image[:, 18:].astype(int) - 128).max() <= 1


def coded_light(code: float, transfer: int) -> bytes:
    """A gray 10-bit picture of one code value, said to be of a high dynamic range."""
    target = io.BytesIO()
    with av.open(target, "w", "matroska") as out:
        stream = out.add_stream("ffv1", rate=1)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv444p10le"
        context = stream.codec_context
        context.color_trc, context.color_primaries, context.colorspace = transfer, 9, 9
        context.color_range = 1
        level = np.full((32, 32, 3), round(code * 65535), np.uint16)
        frame = av.VideoFrame.from_ndarray(level, "rgb48le").reformat(
            format="yuv444p10le", dst_colorspace=9, dst_color_range=1
        )
        frame.color_trc, frame.color_primaries, frame.colorspace = transfer, 9, 9
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return target.getvalue()


@pytest.mark.parametrize(
    ("transfer", "code", "low", "high"),
    [
        (16, 0.0, 0, 1),  # PQ: black
        (16, 0.3, 70, 100),  # about 10 cd/m2, a dark gray
        (16, 0.58, 236, 248),  # reference white, 203 cd/m2: 0.908 of full light
        (16, 0.75, 253, 255),  # a highlight of 1000 cd/m2
        (18, 0.0, 0, 1),  # log-gamma: black
        (18, 0.75, 236, 248),  # reference white
        (18, 1.0, 253, 255),
    ],
)
def test_high_dynamic_range_is_mapped_as_documented(
    transfer: int, code: float, low: int, high: int
) -> None:
    image = only(coded_light(code, transfer), size=16)
    assert image.max() - image.min() <= 2
    assert low <= image.mean() <= high


def test_a_cartoon_of_pictures_that_only_change_in_part_is_put_together() -> None:
    film = films.Film(
        ticks=tuple(range(40)), codec="gif", container="gif", pixels="rgb8",
        time_base=Fraction(1, 20),
    )  # fmt: skip
    with open_video(film.make(), films.whole(frames_per_second=4)) as reader:
        assert films.numbers(list(reader)) == [5 * k for k in range(8)]
    assert reader.duration == pytest.approx(2.0, abs=0.06)


@pytest.mark.parametrize(("codec", "pixels"), [("png", "rgb24"), ("mjpeg", "yuvj444p")])
def test_a_still_picture_is_a_video_of_one_frame(codec: str, pixels: str) -> None:
    picture = films.numbered_picture(1234)
    with open_video(still(picture, codec, pixels), films.whole()) as reader:
        frames = list(reader)
    assert films.numbers(frames) == [1234]
    assert frames[0].time == frames[0].asked == 0.0


def two_streams(*, default: int | None, cover: bool) -> bytes:
    """Two video streams, numbered from 0 and from 1000."""
    target = io.BytesIO()
    with av.open(target, "w", "mp4" if cover else "matroska") as out:
        sizes = [(320, 240), (64, 48)]
        streams = []
        for index, (width, height) in enumerate(sizes):
            stream = out.add_stream("mjpeg" if cover and index == 0 else "libx264", rate=20)
            stream.width, stream.height = width, height
            stream.pix_fmt = "yuvj420p" if cover and index == 0 else "yuv420p"
            if cover and index == 0:
                stream.disposition = av.stream.Disposition.attached_pic
            elif default is not None:
                stream.disposition = (
                    av.stream.Disposition.default if index == default else av.stream.Disposition(0)
                )
            streams.append(stream)
        for number in range(40):
            for index, stream in enumerate(streams):
                if cover and index == 0 and number:
                    continue
                picture = films.numbered_picture(1000 * index + number, *sizes[index])
                frame = av.VideoFrame.from_ndarray(picture, "rgb24")
                frame.pts, frame.time_base = number, Fraction(1, 20)
                out.mux(stream.encode(frame))
        for stream in streams:
            out.mux(stream.encode(None))
    return target.getvalue()


def test_the_default_stream_is_taken_and_any_other_can_be_chosen(read) -> None:
    data = two_streams(default=1, cover=False)
    assert read(data) == [1000, 1020]
    assert read(data, stream=0) == [0, 20]
    with pytest.raises(Exception, match="has 2 video streams; there is no stream 2"):
        read(data, stream=2)


def test_without_a_default_the_largest_stream_is_taken(read) -> None:
    assert read(two_streams(default=9, cover=False)) == [0, 20]


def test_cover_art_is_no_video(read) -> None:
    assert read(two_streams(default=None, cover=True)) == [1000, 1020]
