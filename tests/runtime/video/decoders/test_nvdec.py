"""Decoding on the GPU gives the frames that the processor gives, or a refusal by name.

NVDEC is played by a double that keeps the rules of the real one and decodes with FFmpeg, so that
everything around it runs: packets, time stamps, restarts, memory, layouts, refusals.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import films, nvdec_double, tensorrt_double
from tests.support.coded_films import CODECS, X265
from vtloc_runtime.bundle.manifest import Preprocessing
from vtloc_runtime.errors import BackendError, MissingExtraError, UsageError, VideoError
from vtloc_runtime.video import Limits, VideoOptions, open_video
from vtloc_runtime.video.decoders.nvdec.annexb import CodedPackets
from vtloc_runtime.video.options import DecodeStrategy
from vtloc_runtime.video.sampling import parallel

EVERYTHING = nvdec_double.ADA | {("h264", 10)}
SHARED = (
    "h264 with B-frames",
    "h264 one long group",
    "h264 baseline",
    "h264 open groups",
    "h264 pyramid",
    "h264 intra refresh",
    "h264 ten bits",
    "h264 matroska",
    "h264 flash",
    "hevc",
    "hevc open groups",
    "vp9",
    "vp8 hidden frames",
    "av1",
    "av1 mp4",
)
KINDS = {name: CODECS[name] for name in SHARED} | {
    "h264 full range": {"pixels": "yuvj420p"},
    "h264 transport stream": {"container": "mpegts", "time_base": Fraction(1, 25)},
    "h264 of odd size": {"size": (130, 78), "options": {"g": "24"}},
    "hevc ten bits": {
        "codec": "libx265",
        "pixels": "yuv420p10le",
        "options": {"x265-params": f"{X265}:keyint=20"},
    },
    "vp9 of odd size": {"codec": "libvpx-vp9", "container": "webm", "size": (131, 77)},
}


@pytest.fixture
def gpu() -> Iterator[tensorrt_double.Gpu]:
    """A machine with a GPU that decodes all that the reader asks of one."""
    with nvdec_double.installed(supported=EVERYTHING) as machine:
        yield machine
        assert machine.leaks() == {}


@pytest.fixture
def a100() -> Iterator[tensorrt_double.Gpu]:
    """A machine with an A100."""
    with nvdec_double.installed() as machine:
        yield machine
        assert machine.leaks() == {}


def assert_same(data: bytes, options: VideoOptions) -> int:
    """The GPU's frames, times, duration, damage and warnings are the processor's; how many."""
    with open_video(data, options) as expected:
        reference = list(expected)
    with open_video(data, replace(options, decoder="nvdec")) as reader:
        frames = list(reader)
    assert [(one.asked, one.time) for one in frames] == [(o.asked, o.time) for o in reference]
    for one, other in zip(frames, reference, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
    assert (reader.duration, reader.damaged) == (expected.duration, expected.damaged)
    assert reader.warnings == expected.warnings
    return len(frames)


@pytest.mark.parametrize("strategy", ["needed", "everything"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_frame_is_the_processor_s_bit_for_bit(
    kind: str, strategy: DecodeStrategy, gpu: tensorrt_double.Gpu
) -> None:
    film = films.Film(ticks=tuple(range(70)), **KINDS[kind])
    data = film.make()
    for rate in (1, Fraction(3, 7), 9):
        options = VideoOptions(frames_per_second=rate, strategy=strategy)
        assert assert_same(data, options) == -(-70 * film.time_base * rate // 1)
    assert gpu.made["decoder"] >= 3


@given(
    kind=st.sampled_from(["h264 matroska", "h264 pyramid", "h264 open groups", "hevc", "vp9"]),
    steps=st.lists(st.integers(1, 40), min_size=1, max_size=40),
    instants=st.lists(st.integers(0, 400), min_size=1, max_size=10).map(sorted),
)
@settings(max_examples=20, deadline=None)
def test_any_instants_in_any_rate_are_answered_alike(
    kind: str, steps: list[int], instants: list[int]
) -> None:
    ticks = tuple(int(tick) for tick in np.cumsum([0, *steps]))
    data = films.Film(ticks=ticks, time_base=Fraction(1, 50), **KINDS[kind]).make()
    seconds = tuple(instant / 20 for instant in instants)
    exact = films.whole(instants=seconds)
    with nvdec_double.installed(supported=EVERYTHING) as machine:
        assert_same(data, exact)
        assert machine.leaks() == {}


@pytest.mark.parametrize("kind", ["h264 with B-frames", "h264 matroska", "h264 transport stream"])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_threads_decode_with_a_session_each(
    kind: str, workers: int, gpu: tensorrt_double.Gpu, monkeypatch
) -> None:
    monkeypatch.setattr(parallel, "_LONGEST_PART", 40)
    data = films.Film(ticks=tuple(range(300)), **KINDS[kind]).make()
    assert_same(data, films.whole(frames_per_second=9, workers=workers))


def test_only_what_is_wanted_leaves_the_gpu(gpu: tensorrt_double.Gpu) -> None:
    data = films.Film(ticks=tuple(range(200)), options={"bf": "0", "g": "50"}).make()
    with open_video(data, films.whole(decoder="nvdec")) as reader:
        frames = list(reader)
    assert films.numbers(frames) == list(range(0, 200, 20))
    # The first picture is also fetched to be compared with FFmpeg's, and each stays in ours.
    assert gpu.copies <= 2 * len(frames) + 2


@pytest.mark.parametrize("strategy", ["needed", "everything"])
@pytest.mark.parametrize("codec", ["libx264", "libvpx-vp9"])
def test_pictures_may_change_size_in_the_middle(
    strategy: DecodeStrategy, codec: str, gpu: tensorrt_double.Gpu
) -> None:
    container = "mpegts" if codec == "libx264" else "ivf"
    common: dict[str, Any] = {
        "ticks": tuple(range(50)),
        "time_base": Fraction(1, 25),
        "codec": codec,
    }
    parts = [
        films.Film(container=container, **common).make(),
        films.Film(container=container, size=(176, 96), first_number=50, **common).make(),
    ]
    # An IVF file's own header says nothing that its frames do not.
    joined = parts[0] + (parts[1] if container == "mpegts" else parts[1][32:])
    assert assert_same(joined, films.whole(frames_per_second=4, strategy=strategy)) >= 8


@pytest.mark.parametrize("matrix", [(0, 1, -1, 0), (-1, 0, 0, -1), (-1, 0, 0, 1)])
def test_pictures_are_turned_and_cropped_alike(matrix, gpu) -> None:
    data = films.Film(ticks=tuple(range(41)), size=(160, 90)).make()
    a, b, c, d = (value << 16 for value in matrix)
    place = data.index(b"tkhd") + 44
    turned = data[:place] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + data[place + 36 :]
    assert_same(turned, VideoOptions(preprocessing=Preprocessing(size=64)))


def test_pictures_that_an_edit_list_cuts_are_decoded_and_not_shown(gpu) -> None:
    film = films.Film(ticks=tuple(range(-7, 60)), first_number=100, options={"g": "999"})
    data = film.make()
    with open_video(data, films.whole(decoder="nvdec", frames_per_second=4)) as reader:
        assert films.numbers(list(reader))[0] == 107
    assert_same(data, films.whole(frames_per_second=4))


@pytest.mark.parametrize("container", ["matroska", "flv", "mpegts"])
def test_a_truncated_file_gives_what_it_holds(container: str, gpu) -> None:
    film = films.Film(ticks=tuple(range(200)), container=container, options={"g": "20"})
    whole = film.make()
    assert assert_same(whole[: len(whole) // 2], films.whole()) >= 3


@pytest.mark.parametrize("seed", range(8))
def test_damage_never_hangs_or_escapes(seed: int, gpu) -> None:
    generator = np.random.default_rng(seed)
    container, codec = [("matroska", "libx264"), ("webm", "libvpx"), ("mpegts", "libx264")][
        seed % 3
    ]
    film = films.Film(ticks=tuple(range(100)), codec=codec, container=container)
    data = np.frombuffer(film.make(), np.uint8).copy()
    places = generator.integers(0, len(data), size=len(data) // 200)
    data[places] = generator.integers(0, 256, size=len(places))
    for strategy in ("needed", "everything"):
        options = VideoOptions(strategy=strategy, decoder="nvdec")
        try:
            with open_video(data.tobytes(), options) as reader:
                frames = list(reader)
        except VideoError:
            continue
        assert [frame.asked for frame in frames] == [float(k) for k in range(len(frames))]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "mpeg2": ({"codec": "mpeg2video", "container": "mpegts"}, "not mpeg2video"),
    "full chroma": ({"pixels": "yuv444p"}, "no yuv444p pictures"),
    "ten bits": ({"pixels": "yuv420p10le"}, "h264 with 10 bits"),
    "av1": ({"codec": "libsvtav1", "container": "matroska"}, "does not decode av1"),
    "fields": ({"options": {"x264-params": "interlaced=1:tff=1"}}, "fields"),
    "too small": ({"size": (32, 32)}, "32x32"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_an_a100_cannot_do_is_refused_by_name(kind: str, a100) -> None:
    how, words = REFUSED[kind]
    data = films.Film(ticks=tuple(range(30)), time_base=Fraction(1, 25), **how).make()
    with pytest.raises(VideoError, match=words) as refused:
        list(open_video(data, VideoOptions(decoder="nvdec")))
    assert refused.value.where == "bytes"
    assert "--decoder cpu" in str(refused.value)


def test_pictures_that_differ_from_ffmpeg_s_are_refused(gpu, monkeypatch) -> None:
    original = nvdec_double.PyNvDecoder._surface

    def off_by_one(self: Any, picture: Any, depth: int) -> np.ndarray:
        surface = original(self, picture, depth)
        surface[0, 0] ^= 1
        return surface

    monkeypatch.setattr(nvdec_double.PyNvDecoder, "_surface", off_by_one)
    data = films.Film().make()
    with pytest.raises(VideoError, match="differ from those of FFmpeg"):
        list(open_video(data, VideoOptions(decoder="nvdec")))


def test_limits_hold_on_the_gpu_too(gpu) -> None:
    data = films.Film(size=(160, 96)).make()
    with pytest.raises(VideoError, match="more than the limit"):
        open_video(data, VideoOptions(decoder="nvdec", limits=Limits(pixels=10_000)))
    assert gpu.made["decoder"] == 0


def test_giving_up_early_gives_the_gpu_back(gpu) -> None:
    data = films.Film(ticks=tuple(range(200))).make()
    reader = open_video(data, VideoOptions(decoder="nvdec", frames_per_second=5))
    next(iter(reader))
    reader.close()


def test_a_gpu_that_is_not_there_is_named(gpu) -> None:
    with pytest.raises(BackendError, match="no NVDEC answers on GPU 7"):
        open_video(films.Film().make(), VideoOptions(decoder="nvdec:7"))


def test_a_missing_package_is_named_with_its_extra() -> None:
    with (
        nvdec_double.installed(),
        mock.patch.dict(sys.modules, {"PyNvVideoCodec": None}),
        pytest.raises(MissingExtraError, match=r"\[decode-gpu-cu13\]"),
    ):
        open_video(films.Film().make(), VideoOptions(decoder="nvdec"))


@pytest.mark.parametrize("name", ["gpu", "nvdec:", "nvdec:-1", "cuda", ""])
def test_a_decoder_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="nvdec"):
        VideoOptions(decoder=name)


def test_sizes_are_read_from_vp9_headers() -> None:
    coded = CodedPackets.__new__(CodedPackets)
    coded._codec = "vp9"
    # A keyframe of profile 0: marker, sync code, colour space 1, 64x48 pixels.
    bits = "10" + "00" + "0" + "0" + "1" + "0" + f"{0x498342:024b}" + "001" + "0"
    key = int((bits + f"{63:016b}{47:016b}").ljust(96, "0"), 2).to_bytes(12, "big")
    assert coded.headers(key) == struct.pack(">HH", 63, 47)
    # A picture with the size of its first reference says nothing.
    inter = "10" + "00" + "0" + "1" + "1" + "0" + "00" + "0" * 20 + "1"
    assert coded.headers(int(inter.ljust(64, "0"), 2).to_bytes(8, "big")) is None
    # One that states its own does.
    own = "10" + "00" + "0" + "1" + "1" + "0" + "00" + "0" * 20 + "000" + f"{31:016b}{23:016b}"
    found = coded.headers(int(own.ljust(128, "0"), 2).to_bytes(16, "big"))
    assert found == struct.pack(">HH", 31, 23)
    assert coded.headers(b"\x80") is None
