"""Small films in every container and codec that FFmpeg can write, as seeds and as time bombs."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from fractions import Fraction
from functools import cache

import av
import numpy as np
from av.container import OutputContainer

from recipes.films.priority import kept_priority
from tests.fuzz.target import Input
from tests.support.films import add_video_stream

_RATE = 8
_FRAMES = 16
_QUIET_X265 = "log-level=none:pools=none:frame-threads=1:keyint=8"

# Suffix, container, codec, pixel format, and what differs from the usual.
_FORMS: tuple[tuple[str, str, str, str, dict[str, str]], ...] = (
    (".mp4", "mp4", "libx264", "yuv420p", {"g": "8", "bf": "2"}),
    (".mp4", "mp4", "mpeg4", "yuv420p", {"g": "8"}),
    (".mp4", "mp4", "libx265", "yuv420p", {"x265-params": _QUIET_X265}),
    (".mp4", "mp4", "libsvtav1", "yuv420p", {"preset": "12"}),
    (".mp4", "mp4", "libvpx-vp9", "yuv420p", {"cpu-used": "8"}),
    (".mov", "mov", "mjpeg", "yuvj420p", {}),
    (".mov", "mov", "qtrle", "rgb24", {}),
    (".mov", "mov", "prores_ks", "yuv422p10le", {}),
    (".mov", "mov", "png", "rgb24", {}),
    (".mov", "mov", "svq1", "yuv410p", {}),
    (".mov", "mov", "cinepak", "rgb24", {}),
    (".3gp", "3gp", "h263", "yuv420p", {}),
    (".mkv", "matroska", "libx264", "yuv420p", {"g": "8"}),
    (".mkv", "matroska", "ffv1", "yuv420p", {}),
    (".avi", "avi", "utvideo", "yuv420p", {}),
    (".webm", "webm", "libvpx", "yuv420p", {"auto-alt-ref": "1", "lag-in-frames": "8"}),
    (".webm", "webm", "libvpx-vp9", "yuva420p", {"cpu-used": "8"}),
    (".avi", "avi", "mpeg4", "yuv420p", {"bf": "2"}),
    (".avi", "avi", "mjpeg", "yuvj420p", {}),
    (".avi", "avi", "huffyuv", "yuv422p", {}),
    (".avi", "avi", "rawvideo", "rgb24", {}),
    (".avi", "avi", "msvideo1", "rgb555le", {}),
    (".avi", "avi", "zmbv", "bgr0", {}),
    (".ts", "mpegts", "libx264", "yuv420p", {"g": "8"}),
    (".ts", "mpegts", "mpeg2video", "yuv420p", {"bf": "2"}),
    (".mpg", "mpeg", "mpeg1video", "yuv420p", {}),
    (".vob", "vob", "mpeg2video", "yuv420p", {}),
    (".flv", "flv", "flv", "yuv420p", {}),
    (".flv", "flv", "libx264", "yuv420p", {}),
    (".swf", "swf", "flv", "yuv420p", {}),
    (".rm", "rm", "rv20", "yuv420p", {}),
    (".wmv", "asf", "wmv2", "yuv420p", {}),
    (".asf", "asf", "msmpeg4", "yuv420p", {}),
    (".nut", "nut", "mpeg4", "yuv420p", {}),
    (".mxf", "mxf", "mpeg2video", "yuv420p", {}),
    (".dv", "dv", "dvvideo", "yuv420p", {}),
    (".gif", "gif", "gif", "rgb8", {}),
    (".apng", "apng", "apng", "rgb24", {}),
    (".webp", "image2pipe", "libwebp", "yuv420p", {}),
    (".tiff", "image2pipe", "tiff", "rgb24", {}),
    (".png", "image2pipe", "png", "rgb24", {}),
    (".jpg", "image2pipe", "mjpeg", "yuvj420p", {}),
    (".bmp", "image2pipe", "bmp", "bgr24", {}),
    (".avif", "avif", "libsvtav1", "yuv420p", {"preset": "12"}),
    (".ivf", "ivf", "libvpx", "yuv420p", {}),
    (".obu", "obu", "libsvtav1", "yuv420p", {"preset": "12"}),
    (".y4m", "yuv4mpegpipe", "wrapped_avframe", "yuv420p", {}),
    (".h264", "h264", "libx264", "yuv420p", {}),
    (".hevc", "hevc", "libx265", "yuv420p", {"x265-params": _QUIET_X265}),
    (".m4v", "m4v", "mpeg4", "yuv420p", {}),
    (".mjpeg", "mjpeg", "mjpeg", "yuvj420p", {}),
    (".m2v", "mpeg2video", "mpeg2video", "yuv420p", {}),
    (".h261", "h261", "h261", "yuv420p", {}),
)
_SIZES = {"h263": (128, 96), "h261": (176, 144), "dvvideo": (720, 576)}
_STILLS = {"image2pipe"}
_AT_25 = {"dvvideo", "mpeg1video", "mpeg2video"}
_WITH_SOUND = {"mp4": "aac", "matroska": "flac", "avi": "mp2", "mpegts": "mp2"}

MARKS = (
    b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"stts", b"stsz", b"stsc", b"stco",
    b"stss", b"ctts", b"mdat", b"avcC", b"hvcC", b"av1C", b"elst", b"edts", b"tkhd", b"mdhd",
    b"mvhd", b"moof", b"traf", b"trun", b"tfhd", b"meta", b"iloc", b"ispe", b"LIST", b"idx1",
    b"strh", b"strf", b"avih", b"movi", b"00dc", b"01wb", b"\x1a\x45\xdf\xa3", b"\x16\x54\xae\x6b",
    b"\x1f\x43\xb6\x75", b"\x44\x89", b"\x2a\xd7\xb1", b"\xa3", b"IHDR", b"acTL", b"fcTL", b"fdAT",
    b"ANIM", b"ANMF", b"OggS", b"DKIF", b"FLV", b".RMF", b"MDPR", b"\x00\x00\x01\xb3",
    b"\x00\x00\x01\xba", b"\x00\x00\x01", b"GIF89a", b"!\xf9\x04", b"II*\x00", b"\xff\xd8", b"Exif",
)  # fmt: skip
"""Words of the formats, beside which sizes, counts and times are found."""


@cache
def films() -> tuple[Input, ...]:
    """A film of two seconds in each form that this FFmpeg can write."""
    # An encoder that would tell its life story on standard error.
    os.environ.setdefault("SVT_LOG", "1")
    made = []
    for suffix, container, codec, pixels, options in _FORMS:
        try:
            content = _film(container, codec, pixels, options)
        except (av.FFmpegError, ValueError):
            # Builds of FFmpeg differ in what they write.
            continue
        made.append(Input(content, suffix))
    if len(made) < len(_FORMS) // 2:
        raise RuntimeError(f"only {len(made)} of {len(_FORMS)} kinds of film can be written")
    return tuple(made)


def ten_seconds() -> Input:
    """A clip of ten seconds, the measure for memory."""
    return Input(_film("mp4", "libx264", "yuv420p", {"g": "16"}, frames=80), ".mp4")


@kept_priority()
def _film(
    container: str, codec: str, pixels: str, options: dict[str, str], *, frames: int = _FRAMES
) -> bytes:
    file = io.BytesIO()
    width, height = _SIZES.get(codec, (64, 48))
    with av.open(file, "w", container) as out:
        sound = out.add_stream(_WITH_SOUND[container], 44100) if container in _WITH_SOUND else None
        rate = 25 if codec in _AT_25 else _RATE
        stream = add_video_stream(out, codec, rate, (width, height), pixels=pixels, options=options)
        stream.codec_context.thread_count = 1
        # A picture of DV takes as much as a whole film in another form.
        count = 1 if container in _STILLS else 2 if codec == "dvvideo" else frames
        for picture in _pictures(count, width, height):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format=pixels)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if sound is not None:
            assert isinstance(sound, av.AudioStream)
            _add_sound(out, sound)
    return file.getvalue()


def _pictures(count: int, width: int, height: int) -> Iterator[np.ndarray]:
    """A bright block that moves over a ground that changes once a second."""
    for number in range(count):
        picture = np.empty((height, width, 3), dtype=np.uint8)
        level = 60 * (number // _RATE % 4)
        picture[:] = (level, 40, 200 - level)
        left = 3 * number % (width - 8)
        picture[8:24, left : left + 8] = 250
        yield picture


def _add_sound(out: OutputContainer, stream: av.AudioStream) -> None:
    size = stream.codec_context.frame_size or 1024
    planar = stream.codec_context.format.name
    for block in range(4):
        samples = np.zeros((2, size), dtype=np.float32)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
        frame.sample_rate = 44100
        frame.pts = block * size
        resampler = av.AudioResampler(format=planar, layout="stereo", rate=44100)
        for converted in resampler.resample(frame):
            out.mux(stream.encode(converted))
    out.mux(stream.encode(None))


def animated_webp() -> Input:
    """A film that FFmpeg writes and cannot read."""
    return Input(_film("webp", "libwebp_anim", "yuv420p", {}), ".webp")


def held_picture(seconds: int) -> Input:
    """A film of two pictures, the second so much later."""
    file = io.BytesIO()
    with av.open(file, "w", "matroska") as out:
        stream = out.add_stream("mpeg4", rate=1)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "yuv420p"
        for number, second in enumerate((0, seconds)):
            picture = np.full((16, 16, 3), 90 * number, dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = second, Fraction(1)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return Input(file.getvalue(), ".mkv")


def far_times(step: int) -> Input:
    """An IVF film whose times, of 64 bits, leap."""
    film = bytearray(next(one.content for one in films() if one.suffix == ".ivf"))
    at, number = 32, 0
    while at + 12 <= len(film):
        (size,) = struct.unpack_from("<I", film, at)
        struct.pack_into("<Q", film, at + 4, (number * step) % 2**64)
        at, number = at + 12 + size, number + 1
    return Input(bytes(film), ".ivf")


def huge_animation(side: int, frames: int) -> Input:
    """A GIF of a huge canvas on which one pixel changes in each frame, in 23 bytes a frame."""
    head = (
        b"GIF89a" + struct.pack("<HHBBB", side, side, 0x80, 0, 0) + bytes((0, 0, 0, 255, 255, 255))
    )
    frame = b"!\xf9\x04\x00\x0a\x00\x00\x00" + b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0)
    return Input(head + (frame + b"\x02\x02\x4c\x01\x00") * frames + b";", ".gif")


def huge_picture(side: int) -> Input:
    """A PNG that claims to be huge."""
    png = bytearray(next(one.content for one in films() if one.suffix == ".png"))
    struct.pack_into(">II", png, 16, side, side)
    return Input(bytes(png), ".png")


def zero_duration() -> Input:
    """Two pictures at 100,000 a second."""
    file = io.BytesIO()
    with av.open(file, "w", "mp4") as out:
        stream = out.add_stream("mpeg4", rate=50_000)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "yuv420p"
        for picture in _pictures(2, 32, 32):
            frame = av.VideoFrame.from_ndarray(picture[:16, :16].copy(), "rgb24")
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return Input(file.getvalue(), ".mp4")


def sibling_index() -> Input:
    """A VobSub index, whose format opens a file beside it."""
    text = b"# VobSub index file, v7 (do not modify this line!)\nsize: 720x576\nid: en, index: 0\n"
    return Input(text + b"timestamp: 00:00:01:000, filepos: 000000000\n", ".idx")


def playlist(address: str) -> Input:
    """An HLS playlist of one segment."""
    text = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{address}\n#EXT-X-ENDLIST\n"
    return Input(text.encode(), ".m3u8")
