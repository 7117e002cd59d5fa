"""Concepts become sentences."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the export extra")

from recipes.default_bundle.sentences import with_article, write_sentence
from recipes.default_bundle.vocabulary import Concept

OWL = Concept("owl", (24,), (1.0,), "kind")
KITCHEN = Concept("kitchen", (827,), (1.0,), "scene")


def sentences(concept, split, companion=None, count=400):
    rng = np.random.default_rng(0)
    return {
        write_sentence(concept, rng, split=split, companion=companion).lower().rstrip(".")
        for _ in range(count)
    }


def test_every_sentence_names_what_it_asks_for():
    assert all("owl" in sentence for sentence in sentences(OWL, "training"))
    assert all("kitchen" in sentence for sentence in sentences(KITCHEN, "held-out"))


def test_a_sentence_about_two_things_names_both():
    for sentence in sentences(OWL, "training", companion=KITCHEN):
        assert "owl" in sentence
        assert "kitchen" in sentence


def test_the_splits_share_no_sentence():
    assert not sentences(OWL, "training") & sentences(OWL, "held-out")


def test_sentences_vary():
    assert len(sentences(OWL, "training")) > 100


@pytest.mark.parametrize(
    ("phrase", "expected"), [("owl", "an owl"), ("cat", "a cat"), ("unicycle", "a unicycle")]
)
def test_the_article_suits_the_word(phrase, expected):
    assert with_article(phrase) == expected
