"""A bundle's manifest, now and then through to an answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

import numpy as np

from tests.fuzz.mutation import dump_json, mutate_json, mutate_text
from tests.fuzz.target import Input, Target
from tests.support.answers import check_answer
from tests.support.colours import SIZE, write_colour_bundle
from vtloc_runtime.batch.results.fingerprint import run_fingerprint
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.bundle.manifest import ReferenceEntry, ScoreCalibration, SentenceBankEntry
from vtloc_runtime.localize.localizer import Localizer
from vtloc_runtime.localize.presence.reference_frames import ReferenceFrames
from vtloc_runtime.localize.presence.sentence_bank import SentenceBank
from vtloc_runtime.networks.load import Placement
from vtloc_runtime.video import FrameSequence

_SECONDS = 6
_SUFFIX = ".json"


class Manifests(Target):
    """``bundle.json`` in a folder whose other files are as they should be."""

    name = "manifests"
    count = 150

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        chance = np.random.default_rng(0)
        sentences = SentenceBank.of_vectors(chance.normal(size=(40, 3)), np.zeros(3))
        seen = ReferenceFrames.from_features(chance.normal(size=(40, 3)))
        files = {
            "bank.safetensors": sentences.to_bytes(),
            "reference.safetensors": seen.to_bytes(),
        }
        hashes = {}
        for name, content in files.items():
            (folder / name).write_bytes(content)
            hashes[name] = hashlib.sha256(content).hexdigest()
        bank, frames = files
        write_colour_bundle(
            folder,
            schema=2,
            score_calibration=ScoreCalibration(
                raw=(0.0, 0.5, 1.0), probability=(0.1, 0.4, 0.9), threshold=0.05
            ),
            sentence_bank=SentenceBankEntry(
                file=bank,
                sha256=hashes[bank],
                threshold=-1.0,
                reference=ReferenceEntry(file=frames, sha256=hashes[frames]),
            ),
        )
        self._manifest = json.loads((folder / "bundle.json").read_bytes())
        pictures = chance.integers(0, 256, (_SECONDS, SIZE, SIZE, 3), dtype=np.uint8)
        self._film = FrameSequence(pictures, np.arange(float(_SECONDS)))

    def good(self) -> Sequence[Input]:
        return (Input(json.dumps(self._manifest).encode(), _SUFFIX),)

    def known(self) -> Mapping[str, Input]:
        text = json.dumps(self._manifest)
        plain = {
            "brackets": b"[" * 100_000,
            "objects": b'{"a":' * 100_000,
            "a byte order mark": b"\xef\xbb\xbf" + text.encode(),
            "UTF-16": text.encode("utf-16"),
            "bytes that are not text": text.encode().replace(b"colours", b"col\xff\xfers"),
            "half a surrogate pair": text.encode().replace(b"colours", rb"\ud800"),
            "NaN": text.replace("1.0", "NaN", 1).encode(),
            "a number of 5,000 digits": text.replace("512", "9" * 5_000).encode(),
            "a schema twice": b'{"schema":2,' + text.encode()[1:],
            "nothing": b"",
        }
        changes = {
            "a NUL in a path": ("tokenizer", "file", "a\0b"),
            "a path of 300 characters": ("tokenizer", "file", "x" * 300),
            "a path that leads out": ("tokenizer", "file", "../../../../etc/passwd"),
            "a folder": ("tokenizer", "file", "."),
            "an overlap of -1": ("decoding", "overlap", -1),
            "an overlap of 5": ("decoding", "overlap", 5),
            "a space that begins before the first column": ("shared_space", "start", -1),
            "a probability of 5": ("score_calibration", "probability", [0.1, 0.4, 5.0]),
            "probabilities that fall": ("score_calibration", "probability", [0.9, 0.4, 0.1]),
            "a million frames a second": (None, "frames_per_second", 1e6),
            "1e308 frames a second": (None, "frames_per_second", 1e308),
            "windows of one frame": ("windows", "frames", 1),
            "windows that overlap whole": ("windows", "overlap", 64),
            "pictures of 2^31 pixels": ("preprocessing", "size", 2**31),
            "2^40 tokens": ("tokenizer", "max_tokens", 2**40),
            "a padding id of 2^70": ("tokenizer", "pad_id", 2**70),
        }
        known = {name: Input(content, _SUFFIX) for name, content in plain.items()}
        for name, (part, field, value) in changes.items():
            changed = json.loads(text)
            (changed if part is None else changed[part])[field] = value
            known[name] = Input(json.dumps(changed).encode(), _SUFFIX)
        return known

    def make(self, chance: Random) -> Input:
        if chance.random() < 0.65:
            return Input(dump_json(chance, mutate_json(chance, self._manifest)), _SUFFIX)
        return Input(mutate_text(chance, json.dumps(self._manifest).encode()), _SUFFIX)

    def run(self, given: Input) -> None:
        (self.folder / "bundle.json").write_bytes(given.content)
        bundle = Bundle.open(self.folder)
        assert bundle.digest.startswith("sha256:")
        placement = Placement.choose(bundle, backend="onnxruntime", device=None, precision=None)
        run_fingerprint(bundle, placement, decoding=None, moments=1)
        with Localizer.open(bundle, threads=1) as localizer:
            for answer in localizer.localize(self._film, ["red", "a blue screen"], moments=3):
                check_answer(answer, _SECONDS)
