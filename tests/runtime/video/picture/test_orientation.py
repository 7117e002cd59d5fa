"""Pictures are shown the right way up, wherever the file says which way that is."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from fractions import Fraction

import av
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext

from tests.support import films
from tests.support.coded_films import X265
from vtloc_runtime.bundle.manifest import Preprocessing
from vtloc_runtime.video import VideoOptions, open_video

TURNED: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    # What the EXIF orientation says has to be done to the stored picture to show it.
    1: lambda picture: picture,
    2: lambda picture: picture[:, ::-1],
    3: lambda picture: picture[::-1, ::-1],
    4: lambda picture: picture[::-1],
    5: lambda picture: picture.swapaxes(0, 1),
    6: lambda picture: np.rot90(picture, -1),
    7: lambda picture: picture[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90,
}
STORED: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    # What was done to the upright picture, so that the orientation undoes it.
    1: lambda picture: picture,
    2: lambda picture: picture[:, ::-1],
    3: lambda picture: picture[::-1, ::-1],
    4: lambda picture: picture[::-1],
    5: lambda picture: picture.swapaxes(0, 1),
    6: np.rot90,
    7: lambda picture: picture[::-1, ::-1].swapaxes(0, 1),
    8: lambda picture: np.rot90(picture, -1),
}


def coded(picture: np.ndarray, codec: str, pixels: str) -> bytes:
    """One picture, coded."""
    context = av.CodecContext.create(codec, "w")
    assert isinstance(context, av.VideoCodecContext)
    context.height, context.width = picture.shape[:2]
    context.pix_fmt, context.time_base = pixels, Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")
    frame = frame.reformat(format=pixels)
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])


def with_exif(jpeg: bytes, orientation: int) -> bytes:
    """A JPEG file with an EXIF part that holds its orientation."""
    tiff = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", 1)
    tiff += struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0) + struct.pack("<I", 0)
    exif = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]


def jpeg(orientation: int, number: int = 1234) -> bytes:
    picture = STORED[orientation](films.numbered_picture(number))
    return with_exif(coded(picture, "mjpeg", "yuvj444p"), orientation)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_two_tables_undo_each_other(orientation: int) -> None:
    picture = np.arange(12).reshape(3, 4)
    np.testing.assert_array_equal(TURNED[orientation](STORED[orientation](picture)), picture)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_of_a_photograph_is_followed(orientation: int, tmp_path, read) -> None:
    data = jpeg(orientation)
    path = tmp_path / "photograph.jpg"
    path.write_bytes(data)
    assert read(data) == read(path) == read(path, strategy="everything") == [1234]


@pytest.mark.parametrize("strategy", ["needed", "everything"])
@pytest.mark.parametrize("orientation", [1, 5, 6])
def test_exif_in_a_camera_s_motion_jpeg_is_followed(orientation: int, strategy: str, read) -> None:
    target = io.BytesIO()
    with av.open(target, "w", "avi") as out:
        stream = out.add_stream("mjpeg", rate=10)
        stream.height, stream.width = STORED[orientation](films.numbered_picture(0)).shape[:2]
        stream.pix_fmt = "yuvj444p"
        for number in range(30):
            packet = av.Packet(jpeg(orientation, number))
            packet.pts = packet.dts = number
            packet.time_base, packet.stream = Fraction(1, 10), stream
            packet.is_keyframe = True
            out.mux(packet)
    assert read(target.getvalue(), strategy=strategy) == [0, 10, 20]


def test_a_tiff_picture_is_read(read) -> None:
    assert read(coded(films.numbered_picture(77), "tiff", "rgb24")) == [77]


def filtered(codec: str, messages: str, container: str) -> bytes:
    """A film whose keyframes carry a display orientation message, and nothing else does."""
    x265 = {"x265-params": f"{X265}:keyint=15:bframes=2"}
    options = x265 if codec == "libx265" else {"bf": "2", "g": "15"}
    film = films.Film(ticks=tuple(range(60)), codec=codec, options=options, container="mpegts")
    target = io.BytesIO()
    with av.open(io.BytesIO(film.make()), "r") as source, av.open(target, "w", container) as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        bitstream = BitStreamFilterContext(messages, source.streams.video[0], stream)
        for packet in source.demux(video=0):
            for one in bitstream.filter(packet if packet.size else None):
                one.stream = stream
                out.mux(one)
    return target.getvalue()


@pytest.mark.parametrize("strategy", ["needed", "everything"])
@pytest.mark.parametrize("rate", [1, 7])
def test_an_orientation_at_keyframes_holds_until_the_next(strategy: str, rate: int) -> None:
    messages = "h264_metadata=display_orientation=insert:rotate=180"
    data = filtered("libx264", messages, "mpegts")
    options = films.whole(strategy=strategy, frames_per_second=rate)
    with open_video(data, options) as reader:
        frames = [frame.image[::-1, ::-1] for frame in reader]
    upright = films.Film(ticks=tuple(range(60)), options={"bf": "2", "g": "15"}, container="mpegts")
    with open_video(upright.make(), options) as reader:
        expected = [frame.image for frame in reader]
    assert len(frames) == len(expected) == 3 * rate
    for image, other in zip(frames, expected, strict=True):
        assert np.abs(image.astype(int) - other).max() <= 1


def test_fields_that_hevc_stores_apart_keep_their_shape() -> None:
    film = films.Film(
        ticks=tuple(range(40)),
        codec="libx265",
        container="mpegts",
        size=(96, 48),
        time_base=Fraction(1, 50),
        options={"x265-params": f"{X265}:interlace=tff:keyint=20"},
    )
    # A field of 96x48 pixels is shown as 96x96: a square, of which nothing is cropped.
    options = VideoOptions(preprocessing=Preprocessing(size=48), frames_per_second=10)
    with open_video(film.make(), options) as reader:
        assert films.numbers(list(reader)) == list(range(0, 40, 5))
