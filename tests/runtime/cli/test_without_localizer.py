"""Every command on a bundle of two encoders, without a localizer."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support.colour_bank import banked
from tests.support.command_line import run


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, colour_video: Path) -> str:
    """The bundle; the test runs in a folder of its own, which holds a film."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(colour_video, "film.mp4")
    return str(banked(tmp_path / "encoders"))


def test_it_finds_encodes_and_reports(bundle: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("encode", "film.mp4", "-b", bundle) == 0
    assert run("film.mp4", "-q", "green", "-b", bundle, "--report", "page.html", "--json") == 0
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert record["moments"][0]["start"] == pytest.approx(4, abs=0.2)
    assert 0 <= record["moments"][0]["score"] <= 1
    assert isinstance(record["presence"], float)
    assert "green" in Path("page.html").read_text()


@pytest.mark.parametrize("decoding", ["joint", "combined", "argmax", "soft"])
def test_decoding_that_needs_a_localizer_is_one_line(
    bundle: str, decoding: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("film.mp4", "-q", "green", "-b", bundle, "--decoding", decoding) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1
    assert f"no localizer network, which decoding by {decoding} needs" in shown.err


def test_doctor_says_that_it_serves(bundle: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("doctor", "-b", bundle, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    (served,) = [one for one in found["services"] if one["serves"]]
    assert (served["backend"], served["device"]) == ("onnxruntime", "cpu")


def test_doctor_finds_a_damaged_bank(bundle: str, capsys: pytest.CaptureFixture[str]) -> None:
    (Path(bundle) / "bank.safetensors").write_bytes(b"damaged")
    assert run("doctor", "-b", bundle, "--json") == 5
    assert "altered" in capsys.readouterr().out


def test_its_speed_is_measured(bundle: str) -> None:
    options = ("--seconds", "0.05", "--video", "film.mp4", "--out", "b.json")
    assert run("bench", "-b", bundle, *options) == 0
    stages = {one["stage"] for one in json.loads(Path("b.json").read_text())["stages"]}
    assert stages == {"visual", "text", "decode", "answer", "whole"}
