"""QVHighlights' validation queries, in videos that are seen through captions."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from tokenizers import Tokenizer

from vtloc.encoders import load_text_encoder
from vtloc.encoders.imagenet_labels import embed_texts
from vtloc.model.samples import Sample
from vtloc_runtime.localize.spans.moments import Moment

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLDS = 5
RATE = 0.5
"""Captions a second."""

_CAPTIONS = "qvhighlights_captions/captions_val.zip"
_QUERIES = "annotations/qvhighlights/highlight_val_release.jsonl"


@dataclass(frozen=True, slots=True, eq=False)
class CaptionQuery:
    """A query, its video and where it is true.

    Attributes:
        query: The sentence.
        sample: The video's features [T, 384], the query's tokens and its moments.
        sentence: The query's vector [384], of length one.
        video: Which video, counted from zero.
        fold: Which fold the video is in, below `FOLDS`.
    """

    query: str
    sample: Sample
    sentence: NDArray[np.float32]
    video: int
    fold: int


def load_captions(media: Path, scratch: Path) -> list[CaptionQuery]:
    """Read the queries; the first time, all captions are encoded, which takes ten minutes.

    Args:
        media: The folder with ``qvhighlights_captions`` and ``annotations``.
        scratch: Where the vectors are kept.
    """
    rows = [json.loads(line) for line in (media / _QUERIES).read_text().splitlines() if line]
    captions = _read_captions(media / _CAPTIONS)
    rows = [row for row in rows if row["vid"] in captions]
    videos = sorted({row["vid"] for row in rows})
    cache = scratch / "captions.npz"
    if not cache.exists():
        scratch.mkdir(parents=True, exist_ok=True)
        _encode(cache, [captions[video] for video in videos], [row["query"] for row in rows])
    stored = dict(np.load(cache))
    folds = np.random.default_rng(0).permutation(len(videos)) % FOLDS
    places = {video: index for index, video in enumerate(videos)}
    found = []
    for index, row in enumerate(rows):
        video = places[row["vid"]]
        features = _slice(stored["features"], stored["feature_offsets"], video)
        tokens = _slice(stored["tokens"], stored["token_offsets"], index)
        sentence = stored["sentences"][index].astype(np.float32)
        length = len(features) / RATE
        moments = tuple(
            Moment(max(0.0, start), min(length, end), 1.0)
            for start, end in row["relevant_windows"]
            if start < length
        )
        found.append(
            CaptionQuery(
                row["query"],
                Sample.evenly(str(row["qid"]), features, tokens, moments, frames_per_second=RATE),
                sentence / np.linalg.norm(sentence),
                video,
                int(folds[video]),
            )
        )
    return found


def _read_captions(path: Path) -> dict[str, list[str]]:
    with zipfile.ZipFile(path) as archive:
        return {
            Path(name).stem: [
                json.loads(line)["description"].strip()
                for line in io.TextIOWrapper(archive.open(name), "utf-8")
                if line.strip()
            ]
            for name in archive.namelist()
            if name.endswith(".jsonl")
        }


def _encode(cache: Path, captions: list[list[str]], queries: list[str]) -> None:
    texts = sorted({text for one in captions for text in one})
    places = {text: index for index, text in enumerate(texts)}
    vectors = embed_texts(tuple(texts)).numpy().astype(np.float16)
    states = _tokens(queries)
    np.savez(
        cache,
        features=np.concatenate([vectors[[places[text] for text in one]] for one in captions]),
        feature_offsets=np.cumsum([0, *map(len, captions)]),
        sentences=embed_texts(tuple(queries)).numpy(),
        tokens=np.concatenate(states).astype(np.float16),
        token_offsets=np.cumsum([0, *map(len, states)]),
    )


@torch.inference_mode()
def _tokens(queries: list[str]) -> list[NDArray[np.float32]]:
    encoder = load_text_encoder("minilm")
    tokenizer = Tokenizer.from_str(encoder.tokenizer_json())
    states = []
    for query in queries:
        ids = torch.tensor([tokenizer.encode(query).ids])
        states.append(encoder(ids, torch.ones_like(ids, dtype=torch.bool))[0][0].numpy())
    return states


def _slice(
    values: NDArray[np.floating], offsets: NDArray[np.int64], index: int
) -> NDArray[np.float32]:
    return values[offsets[index] : offsets[index + 1]].astype(np.float32)
