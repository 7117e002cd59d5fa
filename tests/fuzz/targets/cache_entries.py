"""The cache of encoded videos: entries, notes, and a bundle's reference frames beside them."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

import numpy as np

from tests.fuzz.mutation import dump_json, mutate_bytes, mutate_json, mutate_text, resized
from tests.fuzz.target import Input, Target
from vtloc_runtime.localize.encoding import feature_file
from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo
from vtloc_runtime.localize.encoding.feature_cache import FeatureCache
from vtloc_runtime.localize.presence.reference_frames import ReferenceFrames

_KEY = "ab" + "0" * 62
_ENTRY, _SEALED, _NOTE, _FRAMES = ".entry", ".sealed", ".note", ".frames"


class CacheEntries(Target):
    """An entry or a note that is damaged is made anew; one whose check is right is looked into."""

    name = "cache"
    count = 300

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._cache = FeatureCache(folder / "cache")
        self._video = folder / "film.mp4"
        self._video.write_bytes(b"any" * 100)
        self._true = EncodedVideo(
            np.arange(24, dtype=np.float32).reshape(3, 8),
            np.arange(5.0),
            5.0,
            "e" * 64,
            ("a packet is damaged",),
            index=np.array([0, 0, 1, 2, 2]),
        )
        self._good = b"".join(bytes(part) for part in feature_file.encode_entry(self._true, _KEY))
        content = self._cache.key(self._video, "s")
        assert content is not None
        self._note = self._cache._note_path(str(self._video))
        self._frames = ReferenceFrames(np.ones((4, 8), np.float32)).to_bytes()
        self._note_content = json.dumps(
            {"name": "sha256:" + "0" * 64, "state": {"size": 300}, "check": "0" * 16}
        ).encode()

    def good(self) -> Sequence[Input]:
        return (Input(self._good, _ENTRY),)

    def known(self) -> Mapping[str, Input]:
        header = self._good[8:]
        return {
            "nothing": Input(b"", _ENTRY),
            "a header of 2^63 bytes": Input(struct.pack("<Q", 2**63) + header, _ENTRY),
            "a header of no bytes": Input(bytes(8) + header, _ENTRY),
            "brackets": Input(struct.pack("<Q", 100_000) + b"[" * 100_000, _ENTRY),
            "frames of brackets": Input(struct.pack("<Q", 100_000) + b"[" * 100_000, _FRAMES),
            "a note of brackets": Input(b"[" * 4_000, _NOTE),
        }

    def make(self, chance: Random) -> Input:
        suffix = chance.choice((_ENTRY, _SEALED, _SEALED, _NOTE, _FRAMES))
        if suffix == _NOTE:
            value = json.loads(self._note_content)
            if chance.random() < 0.5:
                return Input(dump_json(chance, mutate_json(chance, value)), suffix)
            return Input(mutate_text(chance, self._note_content), suffix)
        content = self._frames if suffix == _FRAMES else self._good
        if chance.random() < 0.3 and suffix != _SEALED:
            return Input(mutate_bytes(chance, content), suffix)
        (size,) = struct.unpack_from("<Q", content)
        header = json.loads(content[8 : 8 + size])
        changed = dump_json(chance, mutate_json(chance, header))
        return Input(resized(chance, changed) + changed + content[8 + size :], suffix)

    def run(self, given: Input) -> None:
        if given.suffix == _FRAMES:
            frames = ReferenceFrames.from_bytes(given.content).frames
            assert np.isfinite(frames).all()
            return
        if given.suffix == _NOTE:
            self._note.parent.mkdir(parents=True, exist_ok=True)
            self._note.write_bytes(given.content)
            true = self._cache.key(self._video, "s")
            assert true == FeatureCache(self.folder / "other").key(self._video, "s")
            return
        path = self._cache._path(_KEY)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(_seal(given.content) if given.suffix == _SEALED else given.content)
        found = self._cache.get(_KEY)
        if found is None:
            # So that the next run does not fail on it again.
            assert not path.exists()
            return
        assert len(found.features) == len(found.times)
        if given.suffix == _ENTRY:
            assert np.array_equal(found.features, self._true.features)
            assert np.array_equal(found.times, self._true.times)
            assert (found.duration, found.encoder, found.warnings) == (
                self._true.duration,
                self._true.encoder,
                self._true.warnings,
            )


def _seal(content: bytes) -> bytes:
    """The entry with the check that belongs to it, as somebody may write it."""
    end = 8 + int.from_bytes(content[:8], "little")
    header, body = content[8:end], content[end:]
    blank = re.sub(rb'"check": "[^"]*"', feature_file._NO_CHECK, header, count=1)
    new = feature_file._check(_KEY, blank, body)
    return content[:8] + blank.replace(feature_file._NO_CHECK, new, 1) + body
