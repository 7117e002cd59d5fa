"""Files of the training side, damaged at random: each is read, or refused with one error."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from vtloc.annotations import Example, read_split
from vtloc.evaluation.result_matching import match_records
from vtloc.features.sources import open_frames, open_tokens
from vtloc.features.store import FrameStore, TokenStore
from vtloc.features.store_description import FramesEntry, TokensEntry
from vtloc.model import LocalizerConfig, load_checkpoint, save_checkpoint
from vtloc.training import seeded_network
from vtloc.training.ablation import Ablation
from vtloc.training.experiment import Experiment
from vtloc.training.metrics_log import MetricsJournal
from vtloc.training.resume_state import TrainingProgress, load_state, save_state
from vtloc_runtime.errors import VtlocError
from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo
from vtloc_runtime.localize.spans.moments import Moment

ROUNDS = 60
EXAMPLE = Example("a", "v", 10.0, "a dog", (Moment(1.0, 2.0, 1.0),))
TINY = LocalizerConfig(
    feature_dim=4, token_dim=4, hidden_dim=16, scale_dim=8, capsules=2, capsule_dim=8,
    attention_heads=2,
)  # fmt: skip
PIECES = [
    b"\xef\xbb\xbf", b"\x00", b"\xff\xfe", "\u2028".encode(), "\x85".encode(), b"NaN", b"1e999",
    b"-1", b"null", b"{" * 50, b"[" * 3000, b'"', b"\n", b"\r\n", b"1" * 5000, b"\xed\xa0\x80",
    b"\\ud800", b"{}", b"[]", b"-Infinity", b"9" * 400,
]  # fmt: skip

RUN = b"""[localizer]
hidden_dim = 16
[training]
epochs = 2
learning_rate = 5e-3
[data]
train = "a"
validation = "b"
frames = [{ path = "store" }]
tokens = { path = "store" }
"""
ARMS = b'title = "x"\n[[arms]]\nname = "a"\n[arms.localizer]\nrouting = false\n'


def mutated(content: bytes, chance: random.Random) -> bytes:
    """The content with one to four random edits."""
    data = bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 4])):
        at = chance.randrange(len(data) + 1)
        edit = chance.randrange(5)
        if edit == 0 and data:
            data[at - 1] ^= 1 << chance.randrange(8)
        elif edit == 1:
            del data[at : at + chance.choice([1, 8, 64])]
        elif edit == 2:
            data[at:at] = chance.choice(PIECES)
        elif edit == 3:
            del data[at:]
        else:
            data[at : at + 8] = chance.choice(PIECES)
    return bytes(data)


def in_place(file: Path, use: Callable[[], object]) -> tuple[bytes, Callable[[Path], object]]:
    """A file that is read where it lies: damaged, read, and put right again."""
    content = file.read_bytes()

    def read(damaged: Path) -> object:
        file.write_bytes(damaged.read_bytes())
        try:
            return use()
        finally:
            file.write_bytes(content)

    return content, read


def annotated(folder: Path) -> dict[str, tuple[bytes, Callable[[Path], object]]]:
    durations = folder / "charades.json"
    durations.write_text(json.dumps({"AO8RW": {"duration": 30.0}}))
    charades = folder / "charades.txt"
    charades.write_text("AO8RW 0.0 6.9##a person sits\n")
    video = {"duration": 10.0, "timestamps": [[1, 2], [3, 4]], "sentences": ["a", "b"]}
    highlight = {"qid": 1, "query": "a", "duration": 10, "vid": "v", "relevant_windows": [[1, 2]]}
    own = {"id": 1, "query": "a", "duration": 10, "video": "v", "moments": [[1, 2]]}
    record = {
        "id": "a", "video": "v.mp4", "query": "a dog",
        "moments": [{"start": 1, "end": 2, "score": 0.5}],
    }  # fmt: skip
    return {
        "activitynet.json": (json.dumps({"v": video}).encode(), read_split),
        "charades.txt": (
            charades.read_bytes(),
            lambda file: read_split(file, durations=durations),
        ),
        "durations.json": (
            durations.read_bytes(),
            lambda file: read_split(charades, durations=file),
        ),
        "durations.csv": (
            b"id,length\nAO8RW,30.0\n",
            lambda file: read_split(charades, durations=file),
        ),
        "highlights.jsonl": (json.dumps(highlight).encode(), read_split),
        "own.jsonl": (json.dumps(own).encode(), read_split),
        "results.jsonl": (
            json.dumps(record).encode(),
            lambda file: match_records(file, [EXAMPLE]),
        ),
    }


def features(folder: Path) -> dict[str, tuple[bytes, Callable[[Path], object]]]:
    store, arrays = folder / "store", folder / "arrays"
    rows = np.ones((5, 4), np.float32)
    entry = FramesEntry(encoder="e", dimension=4, frames_per_second=1.0)
    FrameStore.create(store, entry).write("v", EncodedVideo(rows, np.arange(5.0), 5.0))
    TokenStore.create(store, TokensEntry(encoder="t", dimension=4)).write({"a dog": rows})
    arrays.mkdir()
    np.savez_compressed(arrays / "v.npz", features=rows, attention_mask=np.ones(5))
    with h5py.File(folder / "own.h5", "w") as file:
        file["v"] = rows
        file["w/features"] = rows

    def frames() -> object:
        return open_frames(store).frames("v")

    def tokens() -> object:
        return open_tokens(store).tokens(EXAMPLE)

    def hdf5(file: Path) -> object:
        opened = open_frames(file, frames_per_second=1.0)
        return opened.frames("v"), opened.frames("w")

    return {
        "frames.json": in_place(store / "frames.json", frames),
        "frames": in_place(store / "frames" / "v.safetensors", frames),
        "tokens.json": in_place(store / "tokens.json", tokens),
        "tokens": in_place(store / "tokens" / "00000.safetensors", tokens),
        "arrays": in_place(
            arrays / "v.npz", lambda: open_frames(arrays, frames_per_second=1.0).frames("v")
        ),
        "own.h5": ((folder / "own.h5").read_bytes(), hdf5),
    }


def training(folder: Path) -> dict[str, tuple[bytes, Callable[[Path], object]]]:
    network = seeded_network(TINY, seed=0)
    optimizer = torch.optim.Adam(network.parameters())
    checkpoint, state = folder / "checkpoint", folder / "state"
    save_checkpoint(checkpoint, network, visual_encoder="v", text_encoder="t", metadata={})
    settings = {"training": {"seed": 1}}
    save_state(state, network, optimizer, TrainingProgress(1, 0, 3.0), settings)
    return {
        "run.toml": (RUN, Experiment.read),
        "arms.toml": (ARMS, Ablation.read),
        "checkpoint": (checkpoint.read_bytes(), load_checkpoint),
        "state": (
            state.read_bytes(),
            lambda file: load_state(file, network, optimizer, settings),
        ),
        "metrics.jsonl": (b'{"epoch": 0, "loss": 1.0}\n', lambda file: MetricsJournal(file).read()),
    }


@pytest.mark.parametrize("make", [annotated, features, training])
def test_a_damaged_file_is_read_or_refused_with_one_error(
    make: Callable[[Path], dict[str, tuple[bytes, Callable[[Path], object]]]], tmp_path: Path
) -> None:
    (tmp_path / "sound").mkdir()
    for name, (content, read) in make(tmp_path / "sound").items():
        file = tmp_path / name
        file.write_bytes(content)
        read(file)
        chance = random.Random(name)
        refused = 0
        for _ in range(ROUNDS):
            file.write_bytes(mutated(content, chance))
            with contextlib.suppress(VtlocError):
                read(file)
                continue
            refused += 1
        assert refused or name == "metrics.jsonl", name


def test_text_is_cut_into_lines_at_newlines_only(tmp_path: Path) -> None:
    """JSON strings may hold U+2028 and U+0085, which `str.splitlines` takes for ends of lines."""
    query = "a dog\u2028a cat\x85a cow\x0ba pig"
    own = {"id": 1, "query": query, "duration": 10, "video": "v", "moments": [[1, 2]]}
    file = tmp_path / "own.jsonl"
    file.write_text(json.dumps(own, ensure_ascii=False) + "\r\n\r\n", encoding="utf-8-sig")
    (example,) = read_split(file).examples
    assert example.query == "a dog a cat a cow a pig"


@pytest.mark.parametrize("duration", ["1e999", "0", "-3"])
def test_a_duration_must_be_positive_and_finite(duration: str, tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    file.write_text(f'{{"id": 1, "query": "a", "duration": {duration}, "video": "v"}}')
    with pytest.raises(VtlocError, match=r"no positive duration|not valid"):
        read_split(file)
