"""The cache of encoded videos: found by content, never half written, never too large."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vtloc_runtime.errors import OutputError, VideoError
from vtloc_runtime.localize.encoding import feature_cache
from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo, EvenSampling, SeenFrames
from vtloc_runtime.localize.encoding.feature_cache import FeatureCache
from vtloc_runtime.system.cache_folder import default_folder


def encoded(value: float = 1.0, frames: int = 4) -> EncodedVideo:
    return EncodedVideo(
        np.full((frames, 3), value, dtype=np.float32),
        np.arange(frames, dtype=np.float64) + 0.125,
        frames + 1 / 3,
        "e" * 64,
        ("the file was cut short",),
    )


def entry(folder: Path, key: str) -> Path:
    """Where the cache keeps what it knows by a key."""
    (path,) = (folder / "cache").rglob(f"{key}*")
    return path


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

    with pytest.raises(VideoError, match="no"):
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
        path = entry(tmp_path, name * 64)
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

    monkeypatch.setattr("vtloc_runtime.localize.encoding.feature_cache.os.fsync", full)
    assert same(cache.fetch(film, "s", Encoder()), encoded())
    assert not [path for path in (tmp_path / "cache").rglob("*") if "safetensors" in path.name]
    with pytest.raises(OutputError, match="No space left"):
        cache.put("a" * 64, encoded())


def test_several_processes_share_one_cache(tmp_path: Path, film: Path) -> None:
    program = (
        "import sys, numpy as np\n"
        "from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo\n"
        "from vtloc_runtime.localize.encoding.feature_cache import FeatureCache\n"
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
    with pytest.raises(OutputError, match="cannot be created"):
        FeatureCache(tmp_path / "file" / "cache")


def settle(film: Path) -> None:
    """Let a file look as if it was written long ago: notes are kept of such files only."""
    os.utime(film, ns=(10**9, 10**9))


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vtloc_runtime.localize.encoding.feature_cache._SETTLED", -1)


def with_index() -> EncodedVideo:
    rows = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    index = np.array([0, 0, 1, 1, 2, 2, 2], dtype=np.int64)
    sampling = EvenSampling(1.0, 0.04, np.array([2.6, 5.1]))
    return EncodedVideo(
        rows, np.arange(7.0), 7.5, "e" * 64, ("öäü \u2028",), index=index, sampling=sampling
    )


def test_features_that_frames_share_are_kept_once(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path / "cache")
    cache.put("a" * 64, with_index())
    found = cache.get("a" * 64)
    assert found is not None
    assert found.rows.shape == (3, 5)
    assert same(found, with_index())
    assert found.warnings == with_index().warnings
    np.testing.assert_array_equal(found.begins, with_index().begins)


@pytest.mark.parametrize("video", [encoded(), with_index()], ids=["plain", "shared"])
def test_no_flipped_bit_changes_an_answer(tmp_path: Path, video: EncodedVideo) -> None:
    """Whatever bit of an entry flips, it is found out, removed, and made anew."""
    cache = FeatureCache(tmp_path / "cache")
    key = "a" * 64
    cache.put(key, video)
    path = entry(tmp_path, key)
    good = path.read_bytes()
    generator = np.random.default_rng(7)
    for place in generator.choice(8 * len(good), size=300, replace=False):
        content = bytearray(good)
        content[place // 8] ^= 1 << (place % 8)
        path.write_bytes(content)
        assert cache.get(key) is None, f"bit {place}"
        assert not path.exists()
    cache.put(key, video)
    found = cache.get(key)
    assert found is not None
    assert same(found, video)


@pytest.mark.parametrize(
    "change",
    [
        {"warnings": ([1],)},
        {"warnings": 5 * ({"a": 1},)},
        {"seen": SeenFrames(np.ones(5, bool), np.array([2.0, 1.0]), np.zeros(2, bool))},
        {"seen": SeenFrames(np.ones(5, bool), np.array([0.0, math.nan]), np.zeros(2, bool))},
        {"seen": SeenFrames(np.ones(4, bool), np.array([0.0]), np.zeros(1, bool))},
        {"seen": SeenFrames(np.ones(5, bool), np.arange(9.0), np.zeros(9, bool))},
    ],
)
def test_an_intact_entry_of_what_cannot_be_is_made_anew(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    cache = FeatureCache(tmp_path / "cache")
    cache.put("a" * 64, replace(with_index(), **change))
    assert cache.get("a" * 64) is None
    assert not list((tmp_path / "cache").rglob("a" * 64 + "*"))


def test_a_header_that_ends_elsewhere_is_found_out(tmp_path: Path) -> None:
    # Its padding would pass for numbers, and every byte of the file is still the same.
    cache = FeatureCache(tmp_path / "cache")
    for length in range(8):
        key = f"{length:064}"
        cache.put(key, replace(encoded(), warnings=("w" * length,)))
        path = entry(tmp_path, key)
        content = path.read_bytes()
        size = int.from_bytes(content[:8], "little")
        shorter = 8 + len(content[8 : 8 + size].rstrip())
        if shorter < 8 + size:
            path.write_bytes((shorter - 8).to_bytes(8, "little") + content[8:])
            assert cache.get(key) is None


def test_a_warning_that_looks_like_the_check_is_kept(tmp_path: Path) -> None:
    cache, key = FeatureCache(tmp_path / "cache"), "a" * 64
    video = replace(encoded(), encoder="0" * 64, warnings=('"check": "00000000"',))
    cache.put(key, video)
    found = cache.get(key)
    assert found is not None
    assert (found.warnings, found.encoder) == (video.warnings, video.encoder)


def test_an_entry_in_anothers_place_is_not_believed(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path / "cache")
    cache.put("a" * 64, encoded(1.0))
    cache.put("b" * 64, encoded(2.0))
    shutil.copy(entry(tmp_path, "a" * 64), entry(tmp_path, "b" * 64))
    assert cache.get("b" * 64) is None
    assert cache.get("a" * 64) is not None


@pytest.mark.parametrize(
    "error", [OSError(24, "Too many open files"), PermissionError(13, "no"), MemoryError()]
)
def test_a_passing_error_removes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    cache = FeatureCache(tmp_path / "cache")
    cache.put("a" * 64, encoded())

    def fail(_path: Path) -> bytes:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(feature_cache, "read_input", fail)
        assert cache.get("a" * 64) is None
    assert cache.get("a" * 64) is not None


@pytest.mark.usefixtures("settled")
def test_a_file_changed_in_place_is_another_video(tmp_path: Path, film: Path) -> None:
    """Its size and its time of modification are kept, as ``rsync --inplace -t`` keeps them."""
    encode = Encoder()
    cache = FeatureCache(tmp_path / "cache")
    cache.fetch(film, "s", encode)
    before = film.stat()
    with film.open("r+b") as file:
        file.write(b"SOME")
    os.utime(film, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert film.stat().st_mtime_ns == before.st_mtime_ns
    cache.fetch(film, "s", encode)
    assert encode.calls == 2


@pytest.mark.usefixtures("settled")
def test_a_known_file_is_not_read_again(
    tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = FeatureCache(tmp_path / "cache")
    first = cache.key(film, "s")
    reads: list[int] = []
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda *given: reads.append(1) or real(*given))
    assert cache.key(film, "s") == first
    assert not reads


@pytest.mark.usefixtures("settled")
def test_notes_stay_within_the_bound(tmp_path: Path, film: Path) -> None:
    cache = FeatureCache(tmp_path / "cache", bound=1_000)
    for turn in range(40):
        settle(film)
        copy = tmp_path / f"{turn}.mp4"
        shutil.copy(film, copy)
        cache.fetch(copy, "s", Encoder())
    kept = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in kept) <= 1_000
    # One file in many states leaves one note.
    roomy = FeatureCache(tmp_path / "roomy")
    for turn in range(10):
        film.write_bytes(b"a film" * (turn + 1))
        roomy.fetch(film, "s", Encoder())
    assert len([path for path in (tmp_path / "roomy/notes").rglob("*") if path.is_file()]) == 1


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("damage", [b"", b"{", b'{"name":1}', b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_note_costs_one_reading(tmp_path: Path, film: Path, damage: bytes) -> None:
    cache = FeatureCache(tmp_path / "cache")
    key = cache.key(film, "s")
    (note,) = (path for path in (tmp_path / "cache/notes").rglob("*") if path.is_file())
    good = note.read_bytes()
    note.write_bytes(damage)
    assert cache.key(film, "s") == key
    assert note.read_bytes() == good
    for place in range(0, 8 * len(good), 37):
        flipped = bytearray(good)
        flipped[place // 8] ^= 1 << (place % 8)
        note.write_bytes(flipped)
        assert cache.key(film, "s") == key


def test_drafts_of_notes_are_removed_too(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path / "cache")
    draft = tmp_path / "cache" / "notes" / "ab" / ".half"
    draft.parent.mkdir(parents=True)
    draft.write_bytes(b"half")
    os.utime(draft, (1, 1))
    cache.put("c" * 64, encoded())
    assert not draft.exists()


def test_a_huge_file_is_not_read_whole(tmp_path: Path) -> None:
    film = tmp_path / "huge.mp4"
    with film.open("wb") as file:
        file.write(b"head")
        file.truncate(2**40)
    cache = FeatureCache(tmp_path / "cache")
    began = time.monotonic()
    first = cache.key(film, "s")
    assert time.monotonic() - began < 10
    assert first is not None
    with film.open("r+b") as file:
        file.seek(2**39)
        file.write(b"changed")
    assert cache.key(film, "s") != first


def test_storage_that_hangs_is_given_up(
    tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    real = os.pread

    def hang(*given: int) -> bytes:
        release.wait(30)
        return real(*given)

    monkeypatch.setattr(os, "pread", hang)
    cache = FeatureCache(tmp_path / "cache", timeout=0.3)
    began = time.monotonic()
    with pytest.raises(VideoError, match=r"did not respond within 0\.3 s"):
        cache.fetch(film, "s", Encoder())
    assert time.monotonic() - began < 5
    assert cache.key(film, "s", stop=lambda: True) is None
    release.set()


def test_a_user_without_a_home_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("VTLOC_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(OutputError, match="no home folder") as caught:
        FeatureCache()
    assert caught.value.remedy
