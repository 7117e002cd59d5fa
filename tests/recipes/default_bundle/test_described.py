"""Timelines of described frames: where the answer lies, and that it looks like real video."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the export extra")

from hypothesis import given, settings
from hypothesis import strategies as st

from recipes.default_bundle.described import DescribedConfig, Describer, joined
from recipes.default_bundle.topics import write_topics
from vtloc.errors import ConfigurationError

WIDTH = 32
TOPICS = write_topics(np.random.default_rng(0), 12, split="training")
SURROUNDINGS = np.eye(WIDTH, dtype=np.float32)
# Each word has a direction of its own, and a sentence is the sum of its words.
WORDS: dict[str, np.ndarray] = {}


def embed(sentences):
    rng = np.random.default_rng(9)
    vectors = []
    for sentence in sentences:
        rows = []
        for word in sentence.lower().rstrip(".").split():
            if word not in WORDS:
                WORDS[word] = rng.standard_normal(WIDTH)
            rows.append(WORDS[word])
        total = np.sum(rows, axis=0)
        vectors.append(total / np.linalg.norm(total))
    return np.array(vectors, dtype=np.float32)


def describer(**choices):
    return Describer(TOPICS, embed, SURROUNDINGS, DescribedConfig(**choices))


def inside(timeline):
    found = np.zeros(len(timeline.frames), dtype=bool)
    for first, last in timeline.moments:
        found[first : last + 1] = True
    return found


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), frames=st.integers(1, 120))
def test_moments_lie_inside_the_timeline_in_order_and_apart(seed, frames):
    timeline = describer(absent=0.0).compose(np.random.default_rng(seed), frames)
    assert timeline.frames.shape == (frames, WIDTH)
    assert timeline.frames.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(timeline.frames, axis=1), 1, rtol=1e-5)
    assert timeline.moments
    last = -2
    for first, end in timeline.moments:
        assert last + 1 < first <= end < frames
        last = end


def test_a_timeline_depends_on_the_generator_alone():
    one, two = (describer().compose(np.random.default_rng(5), 60) for _ in range(2))
    assert (one.sentence, one.moments) == (two.sentence, two.moments)
    np.testing.assert_array_equal(one.frames, two.frames)


def test_frames_of_the_moment_are_closest_to_the_sentence():
    rng, maker = np.random.default_rng(1), describer(absent=0.0)
    gains = []
    for _ in range(60):
        timeline = maker.compose(rng, 75)
        curve = timeline.frames @ embed((timeline.sentence,))[0]
        answer = inside(timeline)
        if not answer.all():
            gains.append(curve[answer].mean() - curve[~answer].mean())
    assert np.mean(gains) > 0.05


def test_where_nothing_answers_there_is_no_moment():
    rng, maker = np.random.default_rng(1), describer(absent=1.0)
    assert all(maker.compose(rng, 40).moments == () for _ in range(20))


def test_moments_have_the_lengths_and_numbers_of_real_annotations():
    # QVHighlights: 1.7 windows a query, 30 % of the video; at a frame every two seconds
    # 3, 8 and 15 frames at the quartiles and 29 at the 90th percentile.
    rng, maker = np.random.default_rng(2), describer(absent=0.0)
    timelines = [maker.compose(rng, 75) for _ in range(300)]
    lengths = [last - first + 1 for one in timelines for first, last in one.moments]
    assert 1.4 < len(lengths) / len(timelines) < 2.1
    assert 0.25 < np.mean([inside(one).mean() for one in timelines]) < 0.4
    quartiles = np.percentile(lengths, [25, 50, 75, 90])
    assert (np.abs(np.log(quartiles / [3, 8, 15, 29])) < np.log(1.5)).all()


def test_neighbours_resemble_each_other_more_than_frames_far_apart():
    rng, maker = np.random.default_rng(3), describer()
    near, far = [], []
    for _ in range(60):
        frames = maker.compose(rng, 75).frames
        near.append((frames[1:] * frames[:-1]).sum(axis=1).mean())
        far.append((frames[15:] * frames[:-15]).sum(axis=1).mean())
    assert np.mean(near) > np.mean(far) + 0.05


def test_spans_that_touch_become_one():
    assert joined([(0, 3), (4, 6), (8, 8)]) == ((0, 6), (8, 8))
    assert joined([]) == ()


@pytest.mark.parametrize(
    "choices",
    [
        {"share": 1.5},
        {"clarity": (0.6, 0.2)},
        {"clarity": (0.2, 1.2)},
        {"topics": 1},
        {"shot": 0.5},
        {"likeness": -1.0},
        {"scene_spread": -1.0},
    ],
)
def test_what_cannot_be_meant_is_refused(choices):
    with pytest.raises(ConfigurationError, match="described"):
        DescribedConfig(**choices)
