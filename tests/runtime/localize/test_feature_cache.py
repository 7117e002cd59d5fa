"""The cache of encoded videos: found by content, never half written, never too large."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vtloc_runtime.errors import OutputError, VideoError
from vtloc_runtime.localize.feature_cache import FeatureCache, default_folder
from vtloc_runtime.localize.video_encoder import EncodedVideo


def encoded(value: float = 1.0, frames: int = 4) -> EncodedVideo:
    return EncodedVideo(
        np.full((frames, 3), value, dtype=np.float32),
        np.arange(frames) + 0.125,
        frames + 1 / 3,
        "e" * 64,
        ("the file was cut short",),
    )


def same(one: EncodedVideo, other: EncodedVideo) -> bool:
    return (
        np.array_equal(one.features, other.features)
        and np.array_equal(one.times, other.times)
        and (one.duration, one.encoder, one.warnings)
        == (other.duration, other.encoder, other.warnings)
    )


class Encoder:
    """Counts how often it is asked."""

    def __init__(self, value: float = 1.0) -> None:
        self.calls = 0
        self.value = value

    def __call__(self) -> EncodedVideo:
        self.calls += 1
        return encoded(self.value)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"some film" * 1000)
    return path


def test_a_video_is_encoded_once(tmp_path: Path, film: Path) -> None:
    encode = Encoder()
    cache = FeatureCache(tmp_path / "cache")
    first = cache.fetch(film, "s", encode)
    again = FeatureCache(tmp_path / "cache").fetch(film, "s", encode)
    assert encode.calls == 1
    assert same(first, again)
    assert again.timings == {}


def test_it_is_the_content_that_counts(tmp_path: Path, film: Path) -> None:
    encode = Encoder()
    cache = FeatureCache(tmp_path / "cache")
    cache.fetch(film, "s", encode)
    copy = tmp_path / "other name.mkv"
    shutil.copy(film, copy)
    cache.fetch(copy, "s", encode)
    assert encode.calls == 1
    film.write_bytes(b"another film")
    cache.fetch(film, "s", encode)
    assert encode.calls == 2


def test_another_encoder_or_sampling_is_another_entry(tmp_path: Path, film: Path) -> None:
    encode = Encoder()
    cache = FeatureCache(tmp_path / "cache")
    for signature in ("fp32 at 1/s", "fp16 at 1/s", "fp32 at 2/s"):
        cache.fetch(film, signature, encode)
    assert encode.calls == 3


def test_what_is_no_file_is_encoded_and_not_kept(tmp_path: Path) -> None:
    encode = Encoder()
    cache = FeatureCache(tmp_path / "cache")
    for video in ("https://example.org/film.mp4", str(tmp_path), "gone.mp4", "nul\0l"):
        cache.fetch(video, "s", encode)
    assert encode.calls == 4
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_a_failure_is_not_kept(tmp_path: Path, film: Path) -> None:
    cache = FeatureCache(tmp_path / "cache")

    def fail() -> EncodedVideo:
        raise VideoError("no")

    with pytest.raises(VideoError):
        cache.fetch(film, "s", fail)
    encode = Encoder()
    cache.fetch(film, "s", encode)
    assert encode.calls == 1


def test_a_file_that_changes_while_it_is_read_is_not_kept(tmp_path: Path, film: Path) -> None:
    cache = FeatureCache(tmp_path / "cache")

    def growing() -> EncodedVideo:
        film.write_bytes(film.read_bytes() + b"more")
        return encoded()

    cache.fetch(film, "s", growing)
    encode = Encoder()
    cache.fetch(film, "s", encode)
    assert encode.calls == 1


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "words"])
def test_a_damaged_entry_is_made_anew(tmp_path: Path, film: Path, damage: str) -> None:
    cache = FeatureCache(tmp_path / "cache")
    cache.fetch(film, "s", Encoder())
    (entry,) = (tmp_path / "cache").rglob("*.safetensors")
    content = bytearray(entry.read_bytes())
    if damage == "truncate":
        content = content[:-5]
    elif damage == "flip":
        content[-3] ^= 1
    else:
        content = bytearray(b"" if damage == "empty" else b"words")
    entry.write_bytes(content)
    encode = Encoder()
    cache.fetch(film, "s", encode)
    cache.fetch(film, "s", encode)
    assert encode.calls == 1


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    size = None
    cache = FeatureCache(tmp_path / "cache")
    for index, name in enumerate(("a", "b", "c", "d")):
        cache.put(name * 64, encoded(index))
        path = cache._path(name * 64)
        size = path.stat().st_size
        os.utime(path, (index, index))
    assert size is not None
    assert cache.get("a" * 64) is not None
    small = FeatureCache(tmp_path / "cache", bound=int(3.5 * size))
    small.put("e" * 64, encoded())
    kept = {name for name in "abcde" if small.get(name * 64) is not None}
    assert kept == {"a", "d", "e"}


def test_what_killed_processes_left_is_removed(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path / "cache")
    draft = tmp_path / "cache" / "ab" / ".half.1.1"
    draft.parent.mkdir()
    draft.write_bytes(b"half")
    os.utime(draft, (1, 1))
    cache.put("c" * 64, encoded())
    assert not draft.exists()


def test_a_full_disk_costs_the_cache_and_not_the_answer(
    tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = FeatureCache(tmp_path / "cache")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vtloc_runtime.localize.feature_cache.os.fsync", full)
    assert same(cache.fetch(film, "s", Encoder()), encoded())
    assert not [path for path in (tmp_path / "cache").rglob("*") if "safetensors" in path.name]
    with pytest.raises(OutputError, match="No space left"):
        cache.put("a" * 64, encoded())


def test_several_processes_share_one_cache(tmp_path: Path, film: Path) -> None:
    program = (
        "import sys, numpy as np\n"
        "from vtloc_runtime.localize.video_encoder import EncodedVideo\n"
        "from vtloc_runtime.localize.feature_cache import FeatureCache\n"
        "cache = FeatureCache(sys.argv[1], bound=20_000)\n"
        "for turn in range(60):\n"
        "    name = str(turn % 12)\n"
        "    def encode():\n"
        "        return EncodedVideo(np.full((100, 3), float(name), np.float32),\n"
        "                            np.arange(100.0), 100.0)\n"
        "    found = cache.fetch(sys.argv[2], name, encode)\n"
        "    assert (found.features == float(name)).all()\n"
    )
    arguments = [sys.executable, "-c", program, str(tmp_path / "cache"), str(film)]
    processes = [subprocess.Popen(arguments) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    FeatureCache(tmp_path / "cache", bound=20_000).put("f" * 64, encoded())
    total = sum(path.stat().st_size for path in (tmp_path / "cache").glob("??/*.safetensors"))
    assert total <= 20_000


def test_the_folder_is_the_one_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VTLOC_CACHE", str(tmp_path / "named"))
    assert default_folder() == tmp_path / "named"
    monkeypatch.delenv("VTLOC_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "vtloc" / "features"
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be made"):
        FeatureCache(tmp_path / "file" / "cache")
