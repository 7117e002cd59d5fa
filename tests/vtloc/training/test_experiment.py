"""Configurations: read, refused, completed by the features, written and read again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vtloc.errors import CheckpointError, ConfigurationError
from vtloc.model import LocalizerConfig
from vtloc.training.ablation import Ablation
from vtloc.training.data import open_data
from vtloc.training.experiment import (
    Experiment,
    localizer_config,
    recipes,
    run_experiment,
)
from vtloc_runtime.errors import FeatureError


def test_the_papers_recipe_is_the_default() -> None:
    paper = Experiment.read("paper")
    default = Experiment()
    assert paper.training == default.training
    assert paper.losses == default.losses
    widths: dict[str, Any] = {"feature_dim": 512, "token_dim": 768}
    assert LocalizerConfig.from_json({**paper.localizer, **widths}) == LocalizerConfig(**widths)


@pytest.mark.parametrize("name", recipes())
def test_every_recipe_of_the_project_can_be_read(name: str) -> None:
    assert Experiment.read(name).data is None


@pytest.mark.parametrize("name", ["components", "text", "backbone", "design"])
def test_every_ablation_of_the_project_can_be_built(name: str) -> None:
    widths = {"feature_dim": 8, "token_dim": 8, "shared_space": [0, 8]}
    arms = Ablation.read(name).arms
    assert len(arms) > 1
    for arm in arms:
        assert LocalizerConfig.from_json({**widths, **arm.localizer}).hidden_dim > 0


def test_the_components_table_is_the_papers() -> None:
    arms = Ablation.read("components").arms
    figures = [arm.paper["ViT-B/32"]["mIoU"] for arm in arms]
    assert figures == [32.8, 34.7, 36.6, 38.6]
    switches = [(arm.localizer["multiscale"], arm.localizer["routing"]) for arm in arms]
    assert switches == [(False, False), (True, False), (False, True), (True, True)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[localizer]\nhidden_dims = 3", "hidden_dims"),
        ("[localizer]\nfeature_dim = 3", "come from the features"),
        ("[localizer]\ndropout = 2.0", "dropout"),
        ("[training]\nepochs = 0", "epochs"),
        ("[training]\nepochs = 'many'", "epochs"),
        ("[losses]\nsigma = -1.0", "sigma"),
        ("[optimizer]\nkind = 'adam'", "unknown sections optimizer"),
        ("[data]\ntrain = 'a'", "validation"),
        ("epochs =", "not valid TOML"),
    ],
)
def test_configurations_that_cannot_be_meant_are_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        Experiment.read(path)


def test_a_configuration_that_is_not_there_names_the_recipes(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="paper"):
        Experiment.read(tmp_path / "nothing.toml")


def test_paths_in_a_file_are_beside_it_and_given_ones_are_not(benchmark_files) -> None:
    path = benchmark_files.folder / "run.toml"
    read = Experiment.read(path, data={"train": "elsewhere.json"}).data
    assert read is not None
    assert read.validation == str(benchmark_files.validation)
    assert read.train == str(Path("elsewhere.json").absolute())
    assert read.frames[0].path == str(benchmark_files.store)


def test_what_was_written_can_be_read_again(benchmark_files, tmp_path: Path) -> None:
    first = Experiment.read(benchmark_files.folder / "run.toml")
    first.write(tmp_path / "again.toml")
    assert Experiment.read(tmp_path / "again.toml") == first


def test_a_run_records_a_configuration_that_can_be_read_from_anywhere(
    benchmark_files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(benchmark_files.folder)
    data = {"validation": "validation.jsonl", "tokens": {"path": "store"}}
    run_experiment(Experiment.read("run.toml", data=data), Path("out"))
    recorded = benchmark_files.folder / "out" / "run.toml"
    monkeypatch.chdir(tmp_path)
    again = Experiment.read(recorded).data
    assert again is not None
    assert again.train == str(benchmark_files.train)
    assert again.validation == str(benchmark_files.validation)
    assert again.frames[0].path == again.tokens.path == str(benchmark_files.store)
    assert run_experiment(Experiment.read(recorded), tmp_path / "second").epochs == 2


def test_a_refused_run_leaves_the_record_of_the_other(benchmark_files, tmp_path: Path) -> None:
    first = Experiment.read(benchmark_files.folder / "run.toml")
    folder = tmp_path / "run"
    run_experiment(first, folder)
    kept = {file.name: file.read_bytes() for file in folder.iterdir()}
    for other in (
        replace(first, training=replace(first.training, batch_size=4)),
        replace(first, localizer={**first.localizer, "hidden_dim": 32}),
        replace(first, losses=replace(first.losses, sigma=2.0)),
    ):
        with pytest.raises(CheckpointError, match="other settings"):
            run_experiment(other, folder)
        assert {file.name: file.read_bytes() for file in folder.iterdir()} == kept


def test_widths_and_shared_space_come_from_the_features(benchmark_files) -> None:
    data = Experiment.read(benchmark_files.folder / "run.toml").data
    assert data is not None
    ingredients = open_data(data, seed=0)
    config = localizer_config({"hidden_dim": 64}, ingredients.frames, ingredients.tokens)
    assert (config.feature_dim, config.token_dim, config.hidden_dim) == (16, 16, 64)
    assert config.shared_space == (0, 16)


def test_queries_without_features_are_an_error_or_left_out(benchmark_files) -> None:
    (benchmark_files.store / "frames" / "train-3.safetensors").unlink()
    path = benchmark_files.folder / "run.toml"
    for skip in (False, True):
        data = Experiment.read(path, data={"skip_missing": skip}).data
        assert data is not None
        if skip:
            ingredients = open_data(data, seed=0)
            assert len(ingredients.train) == 39
            assert "1 of 40 queries have no features and are left out" in ingredients.notes[0]
        else:
            with pytest.raises(FeatureError, match="1 of 40 queries have no features"):
                open_data(data, seed=0)


def test_the_papers_filter_is_reported(benchmark_files) -> None:
    path = benchmark_files.folder / "run.toml"
    data = Experiment.read(path, data={"minimum_seconds": 4.0}).data
    assert data is not None
    ingredients = open_data(data, seed=0)
    assert len(ingredients.train) < 40
    assert len(ingredients.validation) == 10
    assert f"{len(ingredients.train)} examples kept" in ingredients.notes[0]
