"""What the training commands write never replaces what they did not write."""

from __future__ import annotations

from pathlib import Path

import pytest

from vtloc.cli.main import main


def call(*words: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    assert isinstance(left.value.code, int)
    return left.value.code


@pytest.mark.parametrize(
    "name", ["run.toml", "checkpoint.safetensors", "metrics.jsonl", "curves.png"]
)
def test_a_run_replaces_no_other_file(
    name: str, benchmark_files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / name).write_text("mine")
    assert call("train", benchmark_files.folder / "run.toml", "--out", folder) == 8
    assert name in capsys.readouterr().err
    assert [(file.name, file.read_text()) for file in folder.iterdir()] == [(name, "mine")]


@pytest.mark.parametrize("name", ["checkpoint.safetensors", "metrics.jsonl"])
def test_an_arm_replaces_no_other_file(name: str, benchmark_files, tmp_path: Path) -> None:
    folder = tmp_path / "transformer-only" / "seed-0"
    folder.mkdir(parents=True)
    (folder / name).write_text("mine")
    configuration = benchmark_files.folder / "run.toml"
    words = ("ablate", "components", "--out", tmp_path, "--configuration", configuration)
    assert call(*words, "--epochs", 1) == 8
    assert [(file.name, file.read_text()) for file in folder.iterdir()] == [(name, "mine")]


def test_the_configuration_is_not_replaced_by_its_own_record(benchmark_files) -> None:
    path = benchmark_files.folder / "run.toml"
    content = path.read_bytes()
    assert call("train", path, "--out", benchmark_files.folder) == 8
    assert path.read_bytes() == content


def test_a_list_of_failures_replaces_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "failures.jsonl").write_text("mine")
    words = ("features", tmp_path / "none.mp4", "--out", tmp_path)
    assert call(*words, "--encoder", "open_clip:ViT-B-32") == 8
    assert (tmp_path / "failures.jsonl").read_text() == "mine"
