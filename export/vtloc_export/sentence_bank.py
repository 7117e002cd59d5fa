"""The bank of ordinary sentences that a bundle compares queries with, to tell presence.

The words are the project's own: ``sentences/`` holds 667 sentences about what videos show, 675
nouns and nine templates.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.resources import files
from itertools import cycle, islice
from typing import TYPE_CHECKING

import numpy as np
import torch
from tokenizers import Tokenizer

from vtloc_runtime.bundle.manifest import SentenceBankEntry
from vtloc_runtime.localize.presence.sentence_bank import SentenceBank

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from vtloc.encoders import TextEncoder

SENTENCE_BANK_NAME = "sentence_bank.safetensors"
MEAN_WEIGHT = 0.5
"""How much of the mean text is taken from a query of CLIP's kind; 0.4 to 0.6 measure alike."""

THRESHOLD = 0.75
"""Margin below which a video is taken not to show a sentence: what five in six or so of ordinary
sentences stay below."""

_TEMPLATES_EACH = 2
_BATCH = 64


def ordinary_sentences() -> tuple[str, ...]:
    """Sentences about what videos show: people, animals, vehicles, sport, work, screens."""
    return _lines("sentences")


def noun_phrases() -> tuple[str, ...]:
    """Nouns in templates, such as "a photo of a lighthouse"; every noun in two of them."""
    templates = cycle(_lines("templates"))
    return tuple(
        template.format(noun)
        for noun in _lines("nouns")
        for template in islice(templates, _TEMPLATES_EACH)
    )


def build_sentence_bank(encoder: TextEncoder) -> SentenceBank:
    """Encode the sentences, and the mean of the nouns.

    Args:
        encoder: The text encoder, in evaluation mode.
    """
    nouns = _encode(encoder, noun_phrases())
    return SentenceBank.of_vectors(
        _encode(encoder, ordinary_sentences()), nouns.mean(axis=0, dtype=np.float64)
    )


def write_sentence_bank(
    encoder: TextEncoder,
    folder: Path,
    *,
    mean_weight: float = MEAN_WEIGHT,
    threshold: float | None = THRESHOLD,
) -> SentenceBankEntry:
    """Write the bank of an encoder into a bundle's folder, and describe it for the manifest.

    Args:
        encoder: The text encoder, in evaluation mode.
        folder: The bundle's directory.
        mean_weight: How much of the mean text queries lose; 0 where one encoder makes frames and
            sentences.
        threshold: Least margin of a video that shows a sentence; None answers every sentence.
    """
    content = build_sentence_bank(encoder).to_bytes()
    (folder / SENTENCE_BANK_NAME).write_bytes(content)
    return SentenceBankEntry(
        file=SENTENCE_BANK_NAME,
        sha256=hashlib.sha256(content).hexdigest(),
        mean_weight=mean_weight,
        threshold=threshold,
    )


@torch.inference_mode()
def _encode(encoder: TextEncoder, texts: Sequence[str]) -> NDArray[np.float32]:
    """Sentence vectors ``[texts, Ds]``, of length 1."""
    tokenizer = Tokenizer.from_str(encoder.tokenizer_json())
    tokenizer.no_padding()
    encoded = [item.ids for item in tokenizer.encode_batch(list(texts))]
    vectors = np.empty((len(texts), encoder.sentence_dimension), dtype=np.float32)
    by_length: dict[int, list[int]] = {}
    for index, ids in enumerate(encoded):
        by_length.setdefault(len(ids), []).append(index)
    # Texts of one length run together, so that nothing is padded.
    for indices in by_length.values():
        for top in range(0, len(indices), _BATCH):
            rows = indices[top : top + _BATCH]
            batch = torch.tensor([encoded[row] for row in rows])
            real = torch.ones_like(batch, dtype=torch.bool)
            vectors[rows] = encoder(batch, real)[1].float().numpy()
    return vectors


def _lines(name: str) -> tuple[str, ...]:
    text = (files("vtloc_export") / "sentences" / f"{name}.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())
