"""The bank of ordinary sentences that is encoded at export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from tests.support.tiny_encoders import register_tiny_clip
from vtloc.encoders import TextEncoder, load_text_encoder
from vtloc_export.sentence_bank import (
    build_sentence_bank,
    noun_phrases,
    ordinary_sentences,
    write_sentence_bank,
)
from vtloc_runtime.localize.presence.sentence_bank import SentenceBank


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> TextEncoder:
    torch.manual_seed(0)
    name = register_tiny_clip(tmp_path_factory.mktemp("clip"))
    encoder = load_text_encoder(f"open_clip:{name}")
    encoder.freeze()
    return encoder


@pytest.fixture(scope="module")
def bank(encoder: TextEncoder) -> SentenceBank:
    return build_sentence_bank(encoder)


def test_the_sentences_differ_and_are_many() -> None:
    sentences = ordinary_sentences()
    assert 500 <= len(sentences) <= 1000
    assert len(set(sentences)) == len(sentences)
    assert all(sentence.endswith(".") and sentence == sentence.strip() for sentence in sentences)


def test_every_noun_comes_in_two_templates() -> None:
    phrases = noun_phrases()
    assert len(set(phrases)) == len(phrases) > 1000
    assert "{" not in "".join(phrases)


def test_vectors_are_those_of_the_encoder(encoder: TextEncoder, bank: SentenceBank) -> None:
    tokenizer = Tokenizer.from_str(encoder.tokenizer_json())

    def encode(text: str) -> np.ndarray:
        ids = torch.tensor([tokenizer.encode(text).ids])
        return encoder(ids, torch.ones_like(ids, dtype=torch.bool))[1][0].numpy()

    for place in (0, 333, -1):
        expected = encode(ordinary_sentences()[place])
        assert bank.sentences[place] == pytest.approx(expected, abs=1e-5)
    assert bank.mean == pytest.approx(
        np.mean([encode(phrase) for phrase in noun_phrases()], axis=0), abs=1e-5
    )


def test_a_bank_is_written_into_a_bundle(
    encoder: TextEncoder, bank: SentenceBank, tmp_path: Path
) -> None:
    entry = write_sentence_bank(encoder, tmp_path, mean_weight=0.25)
    read = SentenceBank.from_bytes((tmp_path / entry.file).read_bytes())
    assert entry.mean_weight == 0.25
    assert read.sentences == pytest.approx(bank.sentences, abs=1e-3)
    assert read.mean == pytest.approx(bank.mean, abs=1e-6)
