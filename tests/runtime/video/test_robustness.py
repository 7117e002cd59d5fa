"""Bad files end in one clear error, half-good ones give what they hold and say so."""

from __future__ import annotations

import io
import os
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from tests.support import films
from vtloc_runtime.errors import UsageError, VideoError
from vtloc_runtime.video import FrameSequence, Limits, VideoOptions, open_video


@pytest.fixture(scope="module")
def film() -> bytes:
    return films.Film(ticks=tuple(range(100)), options={"g": "20", "bf": "2"}).make()


def fails(source: Any, words: str, **options: Any) -> None:
    with pytest.raises(VideoError, match=words) as raised:
        list(open_video(source, VideoOptions(**options)))
    assert "\n" not in str(raised.value)
    assert raised.value.where


def test_what_is_no_file_is_said_to_be_none(tmp_path: Path) -> None:
    fails(tmp_path / "absent.mp4", "cannot be opened .no such file")
    fails(tmp_path, "is a folder")
    fails("", "not a file's name")
    fails("a\0b", "not a file's name")
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    fails(fifo, "pipe or a device")
    fails("/dev/zero", "pipe or a device")
    empty = tmp_path / "empty.mp4"
    empty.touch()
    fails(empty, "holds no bytes")
    fails(b"", "holds no bytes")
    with pytest.raises(UsageError, match="is not a video"):
        open_video(3)  # type: ignore[arg-type]  # the mistake under test


def test_what_is_no_video_is_said_to_be_none(tmp_path: Path) -> None:
    fails(b"just some words, and no video at all " * 50, "not a video")
    fails(np.random.default_rng(1).bytes(5000), "not a video")
    sound = io.BytesIO()
    with av.open(sound, "w", "matroska") as out:
        stream = out.add_stream("mp2", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1152), np.int16), layout="mono")
        frame.sample_rate = 16000
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    fails(sound.getvalue(), "no video stream")


@pytest.mark.parametrize("name", ["concat:a|b", "http:x.mp4", "file name with spaces %03d.mp4"])
def test_a_file_s_name_never_means_a_protocol(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    films.Film(ticks=tuple(range(20))).save(tmp_path, name)
    assert len(list(open_video(name))) == 1


@pytest.mark.parametrize(
    "url", ["ftp://host/a.mp4", "rtsp://host/a", "data:video/mp4,aa", "pipe:0"]
)
def test_schemes_are_refused_unless_allowed(url: str) -> None:
    fails(url, "are not allowed")


def test_http_is_refused_by_default_and_read_where_allowed(film: bytes) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            start = int((self.headers.get("Range") or "bytes=0-")[6:].split("-")[0])
            self.send_response(206)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Range", f"bytes {start}-{len(film) - 1}/{len(film)}")
            self.send_header("Content-Length", str(len(film) - start))
            self.end_headers()
            self.wfile.write(film[start:])

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/film.mp4"
        fails(url, "scheme 'http' are not allowed")
        assert len(list(open_video(url, VideoOptions(protocols=("http",))))) == 5
    finally:
        server.shutdown()
    fails(url, "cannot be fetched", protocols=("http",), timeout=2.0)


def test_playlists_cannot_open_other_files(tmp_path: Path, film: bytes) -> None:
    (tmp_path / "secret.mp4").write_bytes(film)
    playlist = tmp_path / "list.mp4"
    playlist.write_text("ffconcat version 1.0\nfile secret.mp4\n")
    fails(playlist, "list of videos .ffconcat., which is refused")
    playlist.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nsecret.mp4\n")
    fails(playlist, "HLS playlist, which is refused")


@pytest.mark.parametrize("container", ["matroska", "mpegts", "flv"])
@pytest.mark.parametrize("strategy", ["needed", "everything"])
def test_a_truncated_file_gives_what_it_holds(container: str, strategy: str) -> None:
    whole = films.Film(ticks=tuple(range(200)), container=container, options={"g": "20"}).make()
    options = films.whole(strategy=strategy)
    with open_video(whole[: len(whole) // 2], options) as reader:
        frames = list(reader)
    assert 3 <= len(frames) <= 7
    assert films.numbers(frames) == [20 * k for k in range(len(frames))]
    assert 2.0 < reader.duration < 8.0
    if container != "mpegts":
        assert any("before the file says" in warning for warning in reader.warnings)


def test_a_truncated_mp4_gives_what_it_holds() -> None:
    film = films.Film(
        ticks=tuple(range(200)),
        options={"g": "20"},
        container_options={"movflags": "faststart"},
    )
    whole = film.make()
    with open_video(whole[: len(whole) * 2 // 3], films.whole()) as reader:
        frames = list(reader)
    assert 2 <= len(frames) <= 8
    assert films.numbers(frames) == [20 * k for k in range(len(frames))]
    assert any("before the file says" in warning for warning in reader.warnings)


@pytest.mark.parametrize(
    ("format_", "settings"),
    [("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("WEBP", {}), ("BMP", {})],
)
def test_a_truncated_picture_is_refused(format_: str, settings: dict[str, Any]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(noise).save(content, format_, **settings)
    whole = content.getvalue()
    assert len(list(open_video(whole))) == 1
    for share in (0.3, 0.6, 0.9):
        fails(whole[: int(len(whole) * share)], "holds nothing that can be decoded")


def test_a_jpeg_without_its_end_marker_is_whole() -> None:
    content = io.BytesIO()
    Image.new("RGB", (80, 60), "red").save(content, "JPEG")
    assert len(list(open_video(content.getvalue()[:-2]))) == 1


def test_an_mp4_without_its_index_says_so(film: bytes) -> None:
    fails(film[: film.index(b"moov") - 4], "cut off before its index")


@pytest.mark.parametrize("seed", range(12))
def test_damage_never_hangs_or_escapes(seed: int) -> None:
    generator = np.random.default_rng(seed)
    container = ["mp4", "matroska", "mpegts", "avi", "flv", "webm"][seed % 6]
    codec = {"webm": "libvpx", "avi": "mpeg4"}.get(container, "libx264")
    film = films.Film(ticks=tuple(range(100)), codec=codec, container=container)
    data = np.frombuffer(film.make(), np.uint8).copy()
    places = generator.integers(0, len(data), size=len(data) // 200)
    data[places] = generator.integers(0, 256, size=len(places))
    for strategy in ("needed", "everything"):
        try:
            with open_video(data.tobytes(), VideoOptions(strategy=strategy)) as reader:
                frames = list(reader)
        except VideoError:
            continue
        assert [frame.asked for frame in frames] == [float(k) for k in range(len(frames))]


def test_a_header_that_claims_too_much_changes_nothing(film: bytes) -> None:
    data = bytearray(film)
    for box, duration_at in ((b"mvhd", 20), (b"tkhd", 24), (b"mdhd", 20)):
        place = data.index(box) + duration_at
        data[place : place + 4] = struct.pack(">I", 0xFFFFFFFE)
    with open_video(bytes(data), films.whole()) as reader:
        frames = list(reader)
    assert films.numbers(frames) == [0, 20, 40, 60, 80]
    assert reader.duration == pytest.approx(5.0)


def test_limits_hold(film: bytes) -> None:
    fails(film, "more than the limit of 1000", limits=Limits(pixels=1000))
    fails(film, "more than 3 frames", limits=Limits(frames=3))
    fails(film, "longer than 2 s", limits=Limits(seconds=2))
    fails(film, "to decode", limits=Limits(decoding_seconds=1e-9))
    joined = films.Film(container="mpegts").make()
    joined += films.Film(container="mpegts", size=(320, 240)).make()
    with open_video(joined, VideoOptions(limits=Limits(pixels=10_000))) as reader:
        assert len(list(reader)) >= 2
    assert reader.damaged
    assert any("damaged packet" in warning for warning in reader.warnings)


class _Stream:
    """Something that can be read, and no more."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._file.read(min(size, 1000))


def test_everything_that_can_be_read_is_taken(film: bytes, tmp_path: Path, read) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(film)
    expected = [0, 20, 40, 60, 80]
    assert read(path) == read(str(path)) == read(film) == expected
    assert read(io.BytesIO(film)) == read(_Stream(film)) == expected
    with path.open("rb") as file:
        assert read(file) == read(file) == expected
        assert not file.closed


def test_a_file_object_that_breaks_its_contract_is_an_error(film: bytes) -> None:
    class TooMuch(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(size) + bytes((size or 0) + 1)

    class Breaks(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError("the disk is gone")

    class Text(io.BytesIO):
        def read(self, size: int | None = -1) -> Any:
            return "text"

    fails(TooMuch(film), "more bytes than it was asked for|not a video|cannot be opened")
    fails(Breaks(film), "the disk is gone|cannot be opened")
    fails(Text(film), "not bytes|cannot be opened")


def test_a_reader_is_read_once_and_closes_itself(film: bytes) -> None:
    reader = open_video(film)
    iterator = iter(reader)
    next(iterator)
    reader.close()
    reader.close()
    with pytest.raises(UsageError, match="read once"):
        iter(reader)


@pytest.mark.parametrize("workers", [1, 2])
def test_giving_up_early_stops_the_threads(workers: int, film: bytes) -> None:
    before = threading.active_count()
    with open_video(film, VideoOptions(workers=workers, frames_per_second=20)) as reader:
        next(iter(reader))
    assert threading.active_count() == before


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_a_thread_reaches_the_caller(workers: int, film: bytes) -> None:
    fails(film, "more than 3 frames", workers=workers, limits=Limits(frames=3))
    damaged = film[:60] + bytes(len(film) - 60)
    fails(damaged, "not a video|decoded|index", workers=workers)


def test_pictures_decoded_elsewhere_are_sampled_the_same_way() -> None:
    pictures = np.stack([films.numbered_picture(number) for number in range(40)])
    sequence = FrameSequence(pictures, np.arange(40) / 20 + 7)
    with open_video(sequence, films.whole(frames_per_second=4)) as reader:
        frames = list(reader)
    assert films.numbers(frames) == [0, 5, 10, 15, 20, 25, 30, 35]
    assert [frame.time for frame in frames] == pytest.approx([k / 4 for k in range(8)])
    assert reader.duration == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("images", "times", "words"),
    [
        (np.zeros((0, 8, 8, 3), np.uint8), [], "no picture"),
        (np.zeros((2, 8, 8, 3), np.uint8), [0.0], "times of shape"),
        (np.zeros((2, 8, 8, 3), np.uint8), [1.0, 1.0], "do not increase"),
        (np.zeros((2, 8, 8, 3), np.float32), [0.0, 1.0], "not uint8"),
        (np.zeros((2, 8, 8), np.uint8), [0.0, 1.0], "not uint8"),
    ],
)
def test_pictures_that_are_none_are_refused(images: Any, times: Any, words: str) -> None:
    with pytest.raises(VideoError, match=words):
        FrameSequence(images, times)
