"""The recipe: one file that holds every choice."""

import pytest

pytest.importorskip("torch", reason="needs the export extra")

from recipes.default_bundle.recipe import Recipe
from vtloc.errors import ConfigurationError


def test_the_shipped_recipe_can_be_read():
    recipe = Recipe.read()
    assert recipe.training.epochs > 0
    assert recipe.localizer_config(
        feature_dim=1664, token_dim=384, shared_space=(0, 384)
    ).shared_space == (0, 384)


def test_a_file_overrides_what_it_names(tmp_path):
    path = tmp_path / "short.toml"
    path.write_text(
        'name = "short"\n[training]\nepochs = 1\n[localizer]\nhidden_dim = 64\n'
        "[composition]\nframes = [10, 12]\n[footage]\nfade = 0.0\n[timelines]\nsamples = 3\n"
    )
    recipe = Recipe.read(path)
    assert recipe.name == "short"
    assert recipe.training.epochs == 1
    assert recipe.composition.frames == (10, 12)
    assert recipe.footage.fade == 0
    assert recipe.timelines.samples == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[optimizer]\nname = 1\n", "unknown sections"),
        ("[timelines]\nvideos = 3\n", "unknown fields videos"),
        ("[footage]\ndrift = [0.5, 2.0]\n", "drift"),
        ("[timelines]\nsamples = 0\n", "at least 1"),
        ("[composition]\nframes = 3\n", "frames"),
    ],
)
def test_what_no_recipe_holds_is_refused(tmp_path, text, message):
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        Recipe.read(path)


def test_a_missing_recipe_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"nothing\.toml"):
        Recipe.read(tmp_path / "nothing.toml")
