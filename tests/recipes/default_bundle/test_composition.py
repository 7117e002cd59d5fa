"""Timelines: what they show, and where the answer lies."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the export extra")

from hypothesis import given, settings
from hypothesis import strategies as st

from recipes.default_bundle.composition import Composer, CompositionConfig
from recipes.default_bundle.footage import FootageConfig, Segment, cross_fade, render
from recipes.default_bundle.prototypes import ClassPrototypes
from recipes.default_bundle.vocabulary import Concept, Vocabulary
from vtloc.errors import ConfigurationError

CLASSES, WIDTH = 40, 64


@pytest.fixture(scope="module")
def prototypes():
    rng = np.random.default_rng(3)
    directions, _ = np.linalg.qr(rng.standard_normal((WIDTH, CLASSES)))
    neighbours = np.array(
        [[(index + step) % CLASSES for step in range(1, 25)] for index in range(CLASSES)]
    )
    return ClassPrototypes(
        np.full(WIDTH, 0.2, dtype=np.float32), directions.T.astype(np.float32), neighbours
    )


@pytest.fixture(scope="module")
def vocabulary():
    concepts = tuple(
        Concept(f"thing {index}", (index,), (1.0,), "name") for index in range(CLASSES)
    )
    return Vocabulary(concepts, np.eye(CLASSES, dtype=np.float32))


def composer(prototypes, vocabulary, footage=None, **choices):
    config = CompositionConfig(relations=(("name", 1.0),), **choices)
    return Composer(prototypes, vocabulary, "training", config, footage or FootageConfig())


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), frames=st.integers(16, 100))
def test_moments_lie_inside_the_timeline_in_order_and_apart(prototypes, vocabulary, seed, frames):
    timeline = composer(prototypes, vocabulary, repeated=0.5, absent=0.1).compose(
        np.random.default_rng(seed), frames=frames
    )
    assert timeline.pooled.shape == (frames, WIDTH)
    assert timeline.pooled.dtype == np.float32
    assert np.isfinite(timeline.pooled).all()
    last = -2
    for first, end in timeline.moments:
        assert last + 1 < first <= end < frames
        last = end


def test_a_shot_may_come_again(prototypes, vocabulary):
    quiet = FootageConfig(
        structured=(0.0, 0.0), plain=(0.0, 0.0), hidden=0.0, fade=0.0, drift=(0.0, 0.0)
    )

    def alike(recurring):
        maker = composer(
            prototypes, vocabulary, quiet, recurring=recurring, empty=0.0, segments=(6, 6)
        )
        rng = np.random.default_rng(4)
        found = []
        for _ in range(20):
            timeline = maker.compose(rng, frames=60)
            frames = timeline.pooled - prototypes.mean
            other = np.ones(60, dtype=bool)
            for first, last in timeline.moments:
                other[first : last + 1] = False
            frames = frames[other] / np.linalg.norm(frames[other], axis=1, keepdims=True)
            found.append((frames @ frames.T).mean())
        return np.mean(found)

    assert alike(0.9) > alike(0.0) + 0.2


def test_a_timeline_depends_on_the_generator_alone(prototypes, vocabulary):
    one, two = (
        composer(prototypes, vocabulary).compose(np.random.default_rng(5)) for _ in range(2)
    )
    assert one.sentence == two.sentence
    assert one.moments == two.moments
    np.testing.assert_array_equal(one.pooled, two.pooled)


def test_what_is_asked_for_shows_in_its_moment_and_nowhere_else(prototypes, vocabulary):
    quiet = FootageConfig(structured=(0.0, 0.0), plain=(0.0, 0.0), hidden=0.0, fade=0.0)
    choices = {"companion": 0.0, "absent": 0.0, "strength": (4.0, 4.0)}
    maker = composer(prototypes, vocabulary, quiet, **choices)
    rng = np.random.default_rng(0)
    for _ in range(30):
        timeline = maker.compose(rng, frames=40)
        name = next(
            c
            for c in sorted(vocabulary.concepts, key=lambda c: -len(c.phrase))
            if c.phrase in timeline.sentence.lower()
        )
        shown = (timeline.pooled - prototypes.mean) @ prototypes.directions[name.classes[0]]
        inside = np.zeros(40, dtype=bool)
        for first, last in timeline.moments:
            inside[first : last + 1] = True
        assert shown[inside].mean() > 2.5
        # Elsewhere it may be mistaken for, at up to about half a subject's strength.
        assert shown[~inside].max(initial=0) < 0.9 * shown[inside].max()


def test_an_absent_answer_has_no_moment(prototypes, vocabulary):
    timeline = composer(prototypes, vocabulary, absent=1.0).compose(np.random.default_rng(1))
    assert timeline.moments == ()


def test_a_fixed_camera_makes_segments_alike(prototypes):
    spans = [(0, 19), (20, 39)]
    nothing = Segment(np.array([0]), np.array([0.0], dtype=np.float32))

    def likeness(fixed):
        config = FootageConfig(fixed_camera=fixed, drift=(0.1, 0.1), fade=0.0)
        found = []
        for seed in range(20):
            frames = render(
                prototypes, spans, [nothing, nothing], np.random.default_rng(seed), config
            )
            one, two = (
                frames[part].mean(0) - prototypes.mean for part in (slice(20), slice(20, 40))
            )
            found.append(one @ two / np.linalg.norm(one) / np.linalg.norm(two))
        return np.mean(found)

    assert likeness(1.0) > likeness(0.0) + 0.3


def test_a_cross_fade_blends_across_the_boundary():
    pooled = np.zeros((10, 3), dtype=np.float32)
    pooled[5:] = 1
    cross_fade(pooled, 5, 2)
    assert (np.diff(pooled[:, 0]) >= 0).all()
    assert pooled[2, 0] == 0
    assert 0 < pooled[4, 0] < 0.5 < pooled[5, 0] < 1
    assert pooled[7, 0] == 1


@pytest.mark.parametrize(
    "choices",
    [{"hard": 1.5}, {"frames": (30, 20)}, {"shortest": 99}, {"relations": (("verb", 1.0),)}],
)
def test_a_composition_that_cannot_be_meant_is_refused(choices):
    with pytest.raises(ConfigurationError, match="composition"):
        CompositionConfig(**choices)
