"""A file that cannot be read says why, and what can be done about it."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import av
import pytest

from tests.support import films
from vtloc_runtime.errors import VideoError
from vtloc_runtime.video import open_video


def refusal(source: Any) -> str:
    with pytest.raises(VideoError) as raised:
        list(open_video(source))
    assert raised.value.remedy, raised.value
    return raised.value.what


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("list.m3u8", "#EXTM3U\n#EXTINF:2,\ns0.ts\n", "is an HLS playlist, which is refused"),
        ("list.ts", "#EXTM3U\n#EXTINF:2,\ns0.ts\n", "is an HLS playlist, which is refused"),
        ("list.mpd", '<?xml version="1.0"?>\n<MPD xmlns="x">', "is a DASH manifest, which is"),
        ("list.txt", "ffconcat version 1.0\nfile a.mp4\n", "is a list of videos"),
        ("a.sdp", "v=0\no=- 0 0 IN IP4 127.0.0.1\n", "is a session description"),
        ("a.idx", "# VobSub index file, v7\nid: en, index: 0\n", "is a subtitle index"),
        ("a.MLV", "MLVI\x34\0\0\0v2.0", "is a Magic Lantern recording, which is refused"),
        ("a.M00", "MLVI\x34\0\0\0v2.0", "is a Magic Lantern recording, which is refused"),
        ("a.svg", "<svg xmlns='http://www.w3.org/2000/svg'/>", "is a drawing"),
        ("a.mp4", "<!DOCTYPE html><html><body>Not found", "is a web page, not a video"),
        ("a.mp4", "\0" * 100_000, "begins with nothing but zero bytes"),
        ("a.mp4", "some words, and not a video\n" * 9, "is not a video in a format"),
        ("img%03d.jpg", "some words, and not a video\n" * 9, "is not a video in a format"),
    ],
)
def test_the_cause_is_named(name: str, content: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(content)
    assert refusal(path).startswith(words)
    assert refusal(content.encode()).startswith(words)


def test_what_a_playlist_names_is_never_opened(tmp_path: Path) -> None:
    opened = []

    class Watched(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            opened.append(size)
            return super().read(size)

    films.Film(ticks=tuple(range(20)), container="mpegts").save(tmp_path, "s0.ts")
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{tmp_path}/s0.ts\n#EXT-X-ENDLIST\n"
    assert "HLS" in refusal(Watched(playlist.encode()))
    assert opened
    (tmp_path / "v.sub").write_bytes(b"\0\0\1\xba" * 500)
    (tmp_path / "v.idx").write_text("# VobSub index file, v7\ntimestamp: 00:00:00:000, filepos: 0")
    assert "VobSub" in refusal(tmp_path / "v.idx")


@pytest.fixture(scope="module")
def film() -> bytes:
    return films.Film(ticks=tuple(range(60)), options={"g": "10"}).make()


@pytest.fixture(scope="module")
def fragments() -> bytes:
    return films.Film(
        ticks=tuple(range(60)),
        options={"g": "20"},
        container_options={"movflags": "frag_keyframe+empty_moov+default_base_moof"},
    ).make()


def test_an_mp4_without_its_index_was_cut(film: bytes) -> None:
    assert refusal(film[: len(film) // 2]).startswith("was cut off before its index")
    moov = film.index(b"moov")
    assert refusal(film[: moov + 100]).startswith("was cut off before its index")


def test_a_fragment_needs_its_initialization_segment(fragments: bytes) -> None:
    moof = fragments.index(b"moof") - 4
    assert "without its initialization segment" in refusal(fragments[moof:])
    styp = struct.pack(">I4s4sI", 16, b"styp", b"msdh", 0)
    assert "without its initialization segment" in refusal(styp + fragments[moof:])


def test_sound_alone_is_said_to_be_sound() -> None:
    target = io.BytesIO()
    with av.open(target, "w", "wav") as out:
        stream = out.add_stream("pcm_s16le", rate=16000)
        frame = av.AudioFrame(format="s16", layout="mono", samples=1600)
        frame.sample_rate = 16000
        out.mux(stream.encode(frame))
    assert refusal(target.getvalue()) == "holds no video stream"


def test_an_empty_file_is_said_to_be_empty(tmp_path: Path) -> None:
    empty = tmp_path / "empty.mp4"
    empty.touch()
    assert refusal(empty) == refusal(b"") == "holds no bytes"


def test_a_file_encrypted_for_playback_under_licence_says_so() -> None:
    assert refusal(films.encrypted()) == "is encrypted (DRM)"


def test_an_animated_webp_says_that_nothing_here_decodes_it() -> None:
    body = b"WEBPVP8X" + struct.pack("<I", 10) + b"\x02\0\0\0\x1f\0\0\x1f\0\0"
    body += b"ANIM" + struct.pack("<I", 6) + bytes(6)
    still = b"VP8L" + struct.pack("<I", 14) + bytes.fromhex("2f000000108893880822220a3011")[:14]
    frame = bytes(16) + still
    body += b"ANMF" + struct.pack("<I", len(frame)) + frame
    assert "animated WebP" in refusal(b"RIFF" + struct.pack("<I", len(body)) + body)
