"""How close frames come to sentences."""

import numpy as np

from vtloc_runtime.bundle.manifest import SharedSpace
from vtloc_runtime.localize.spans.similarity import cosine_curve, cosine_curves


def test_the_curve_reads_only_the_shared_columns() -> None:
    features = np.array([[9.0, 1.0, 0.0], [9.0, 0.0, 2.0], [9.0, 0.0, 0.0]], dtype=np.float32)
    curve = cosine_curve(features, np.array([3.0, 0.0]), SharedSpace(start=1, stop=3))
    assert curve.tolist() == [1.0, 0.0, 0.0]


def test_sentences_together_and_alone_give_the_same_bits_over_any_length():
    chance = np.random.default_rng(0)
    features = chance.normal(size=(2500, 6)).astype(np.float32)
    features[7] = 0
    sentences = list(chance.normal(size=(3, 4)))
    shared = SharedSpace(start=1, stop=5)
    together = cosine_curves(features, sentences, shared)
    for row, sentence in zip(together, sentences, strict=True):
        np.testing.assert_array_equal(row, cosine_curve(features, sentence, shared))
        frames = features[:, 1:5].astype(np.float64)
        with np.errstate(invalid="ignore"):
            expected = frames @ sentence / np.linalg.norm(frames, axis=1)
        expected = np.nan_to_num(expected / np.linalg.norm(sentence))
        np.testing.assert_allclose(row, expected, atol=1e-12)
