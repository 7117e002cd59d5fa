"""A small benchmark with learnable features, as files: what a user of the command line has."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from vtloc.features.store import FrameStore, TokenStore
from vtloc.features.store_description import FramesEntry, TokensEntry
from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo

WIDTH = 16


@dataclass(frozen=True)
class Benchmark:
    """Where the files lie.

    Attributes:
        folder: Holds everything, and ``run.toml``.
        train: Annotations to learn from.
        validation: Annotations to be judged by.
        store: Frames and tokens.
    """

    folder: Path
    train: Path
    validation: Path
    store: Path


RUN = """
[localizer]
hidden_dim = 16
scale_dim = 8
capsules = 2
capsule_dim = 8
attention_heads = 2

[training]
epochs = 2
batch_size = 8
learning_rate = 5e-3

[data]
train = "train.jsonl"
validation = "validation.jsonl"
frames = [{ path = "store" }]
tokens = { path = "store" }
"""


def write_split(path: Path, videos: int, frames: FrameStore, tokens: TokenStore) -> None:
    chance = np.random.default_rng(len(path.name))
    rows, sentences = [], {}
    for index in range(videos):
        name, count = f"{path.stem}-{index}", int(chance.integers(10, 16))
        start = int(chance.integers(0, count - 5))
        end = start + int(chance.integers(3, 6))
        concept = chance.normal(size=WIDTH)
        features = 0.3 * chance.normal(size=(count, WIDTH))
        features[start:end] += concept
        frames.write(
            name,
            EncodedVideo(features.astype(np.float32), np.arange(count, dtype=np.float64), count),
        )
        query = f"the moment of {name}"
        sentences[query] = (concept + 0.2 * chance.normal(size=(3, WIDTH))).astype(np.float32)
        moments = [[start, end]]
        row = {"id": index, "video": name, "duration": count, "query": query, "moments": moments}
        rows.append(json.dumps(row) + "\n")
    tokens.write(sentences)
    path.write_text("".join(rows))


@pytest.fixture
def benchmark_files(tmp_path: Path) -> Benchmark:
    folder = tmp_path / "benchmark"
    files = Benchmark(folder, folder / "train.jsonl", folder / "validation.jsonl", folder / "store")
    entry = FramesEntry(
        encoder="frames", dimension=WIDTH, frames_per_second=1.0, shared_space=(0, WIDTH)
    )
    frames = FrameStore.create(files.store, entry)
    tokens = TokenStore.create(files.store, TokensEntry(encoder="text", dimension=WIDTH))
    write_split(files.train, 40, frames, tokens)
    write_split(files.validation, 10, frames, tokens)
    (folder / "run.toml").write_text(RUN)
    return files
