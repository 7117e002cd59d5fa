"""``vtloc-run bundles``: what is there by name, and what is damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.colours import write_colour_bundle
from tests.support.command_line import run


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "named"
    monkeypatch.setenv("VTLOC_BUNDLES", str(folder))
    return folder


def test_it_says_how_to_make_the_first_one(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("bundles") == 0
    assert "vtloc-export onnx MODEL --name NAME" in capsys.readouterr().err


def test_it_lists_bundles_with_what_they_are_made_of(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_colour_bundle(home / "plain", localizer=False)
    write_colour_bundle(home / "trained")
    assert run("bundles") == 0
    shown = capsys.readouterr().out
    for word in ("plain", "trained", "mean colour", "lookup", "fp16 fp32", "Apache-2.0"):
        assert word in shown
    assert run("bundles", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [(one["name"], one["localizer"]) for one in found] == [
        ("plain", False),
        ("trained", True),
    ]
    assert found[0]["bytes"] > 1000


def test_a_damaged_bundle_is_said_to_be(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_colour_bundle(home / "whole")
    write_colour_bundle(home / "halved")
    (home / "halved" / "text.fp32.onnx").unlink()
    (home / "stray").mkdir()
    assert run("bundles") == 5
    captured = capsys.readouterr()
    assert "whole" in captured.out
    assert "halved is damaged: a file of the bundle is missing" in captured.err
    assert "stray is damaged" in captured.err


def test_altered_files_are_found_by_their_hashes(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_colour_bundle(home / "bent") / "visual.fp16.onnx"
    file.write_bytes(file.read_bytes()[:-1])
    assert run("bundles") == 0
    assert run("bundles", "--verify") == 5
    assert "bent is damaged: the file was altered" in capsys.readouterr().err
