"""The recipe: one file that holds every choice."""

from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs the export extra")

import torch

from recipes.default_bundle.command import ROUTING_AT_FIRST, take_over
from recipes.default_bundle.recipe import Recipe
from vtloc.errors import ConfigurationError
from vtloc.training import seeded_network
from vtloc_runtime.bundle.bundle import Bundle


def test_the_shipped_recipe_can_be_read():
    recipe = Recipe.read()
    assert recipe.training.epochs > 0
    assert recipe.localizer_config(
        feature_dim=1664, token_dim=384, shared_space=(0, 384)
    ).shared_space == (0, 384)


def test_the_localizer_sees_what_it_was_trained_on():
    recipe = Recipe.read()
    assert recipe.windows.frames == recipe.composition.frames[1]
    assert Bundle.open().manifest.windows == recipe.windows


def test_the_bundle_routes_as_its_manifest_says():
    recipe, manifest = Recipe.read(), Bundle.open().manifest
    assert recipe.localizer["routing"] is True
    assert manifest.routing_iterations == 3
    assert manifest.provenance.localizer["routing"] is True
    outputs = manifest.networks["localizer"].variants["compact"].outputs
    assert [(out.name, out.shape) for out in outputs if out.name == "alignment"] == [
        ("alignment", ("batch", "tokens", "frames"))
    ]


def test_a_file_overrides_what_it_names(tmp_path):
    path = tmp_path / "short.toml"
    path.write_text(
        'name = "short"\n[training]\nepochs = 1\n[localizer]\nhidden_dim = 64\n'
        "[composition]\nframes = [10, 12]\n[footage]\nfade = 0.0\n[timelines]\nsamples = 3\n"
        "[described]\nshare = 0.25\n[windows]\nframes = 12\noverlap = 4\n"
    )
    recipe = Recipe.read(path)
    assert recipe.name == "short"
    assert recipe.training.epochs == 1
    assert recipe.composition.frames == (10, 12)
    assert recipe.footage.fade == 0
    assert recipe.timelines.samples == 3
    assert recipe.described.share == 0.25
    assert recipe.windows.frames == 12


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[optimizer]\nname = 1\n", "unknown sections"),
        ("[timelines]\nvideos = 3\n", "unknown fields videos"),
        ("[footage]\ndrift = [0.5, 2.0]\n", "drift"),
        ("[timelines]\nsamples = 0\n", "at least 1"),
        ("[composition]\nframes = 3\n", "frames"),
        ("[described]\nshare = 2.0\n", "share"),
        ("[windows]\nframes = 'long'\n", "windows"),
        ("[composition]\nframes = [8, 20]\n[windows]\nframes = 21\n", "longer than any timeline"),
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


def test_both_steps_are_recipes_and_the_second_takes_over_the_first():
    second = Recipe.read(None)
    first = Recipe.read(Path(str(files("recipes.default_bundle").joinpath("beginning.toml"))))
    widths: dict[str, Any] = {"feature_dim": 40, "token_dim": 8, "shared_space": (0, 8)}
    small: dict[str, Any] = {"hidden_dim": 16, "scale_dim": 4, "capsule_dim": 4}
    older = seeded_network(first.localizer_config(**widths, **small), seed=0)
    network = seeded_network(second.localizer_config(**widths, **small), seed=1)
    fresh = network.state_dict()["routing.output.weight"].clone()
    take_over(network, older)
    weights, known = network.state_dict(), older.state_dict()
    assert network.routing is not None
    assert older.routing is None
    assert known.keys() <= weights.keys()
    assert all(torch.equal(weights[name], value) for name, value in known.items())
    assert torch.equal(weights["routing.output.weight"], fresh * ROUTING_AT_FIRST)
