"""Topics: events in sentences of the project's own."""

import re

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the export extra")

import itertools

from recipes.default_bundle.topics import EVENTS, write_topics


def sentences(topics):
    return [text for topic in topics for event in topic for text in event.descriptions]


@pytest.mark.parametrize("split", ["training", "held-out"])
def test_topics_are_whole_sentences(split):
    topics = write_topics(np.random.default_rng(0), 40, split=split)
    assert len(topics) == 40
    for topic in topics:
        assert len(topic) == EVENTS
        for event in topic:
            assert event.descriptions
            assert event.queries
    for text in sentences(topics):
        assert text == text.strip()
        assert not set(text) & set("{}|[]")
        assert "  " not in text
        assert not re.search(r"\b(with|of|and|has) (with|in|on|into|over|down)\b", text)


def test_topics_depend_on_the_generator_alone():
    one, again, other = (
        write_topics(np.random.default_rng(seed), 5, split="training") for seed in (1, 1, 2)
    )
    assert one == again
    assert one != other


def test_the_splits_share_hardly_a_sentence():
    training = set(sentences(write_topics(np.random.default_rng(0), 200, split="training")))
    held_out = set(sentences(write_topics(np.random.default_rng(0), 200, split="held-out")))
    assert len(training & held_out) < 0.02 * len(held_out)


def test_events_of_a_topic_share_people_and_places():
    def words(event):
        return set(" ".join(event.descriptions).split())

    def shared(one, other):
        return len(words(one) & words(other)) / len(words(one) | words(other))

    topics = write_topics(np.random.default_rng(3), 60, split="training")
    within = np.mean([shared(topic[0], topic[1]) for topic in topics])
    across = np.mean([shared(one[0], two[1]) for one, two in itertools.pairwise(topics)])
    assert within > across + 0.1
