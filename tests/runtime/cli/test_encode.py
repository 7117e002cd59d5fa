"""``vtloc-run encode``: videos encoded ahead, failures apart, the same command goes on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from vtloc_runtime.cli.main import main


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert isinstance(left.value.code, int)
    return left.value.code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.fixture
def folder(colour_video: Path, tmp_path: Path) -> Path:
    """Two videos, differing by a byte after their end."""
    films = tmp_path / "films"
    films.mkdir()
    shutil.copy(colour_video, films / "one.mp4")
    (films / "two.mp4").write_bytes(colour_video.read_bytes() + b"\0\0\0\x08free")
    return films


def test_videos_are_encoded_ahead(
    folder: Path, colour_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, outcomes = run(capsys, "encode", str(folder), "-b", str(colour_bundle))
    assert code == 0
    assert sorted(Path(outcome["video"]).name for outcome in outcomes) == ["one.mp4", "two.mp4"]
    assert {outcome["frames"] for outcome in outcomes} == {12}
    assert not any(outcome["cached"] for outcome in outcomes)
    code, outcomes = run(capsys, "encode", str(folder), "-b", str(colour_bundle))
    assert code == 0
    assert all(outcome["cached"] for outcome in outcomes)
    code, records = run(capsys, str(folder / "one.mp4"), "-q", "green", "-b", str(colour_bundle))
    assert code == 0
    assert "decode" not in records[0]["timings"]
    assert records[0]["moments"][0]["start"] == pytest.approx(4, abs=0.2)


def test_what_cannot_be_encoded_is_a_record(
    folder: Path, colour_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "bad.mp4").write_text("words")
    code, outcomes = run(capsys, "encode", str(folder), "gone.mp4", "-b", str(colour_bundle))
    assert code == 1
    failed = {Path(outcome["video"]).name: outcome["error"] for outcome in outcomes}
    assert {name for name, error in failed.items() if error} == {"bad.mp4", "gone.mp4"}
    assert run(capsys, "encode", "gone.mp4", "-b", str(colour_bundle))[0] == 3


def test_a_cache_that_cannot_be_filled_is_an_error(
    folder: Path,
    colour_bundle: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vtloc_runtime.localize.encoding.feature_cache.os.fsync", full)
    code, outcomes = run(capsys, "encode", str(folder), "-b", str(colour_bundle))
    assert code == 8
    assert {outcome["error"]["kind"] for outcome in outcomes} == {"output"}


def test_a_list_with_sentences_names_its_videos_once(
    folder: Path, colour_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = tmp_path / "jobs.csv"
    film = folder / "one.mp4"
    listed.write_text(f"video,query\n{film},red\n{film},blue\n")
    code, outcomes = run(capsys, "encode", str(listed), "-b", str(colour_bundle))
    assert code == 0
    assert [outcome["video"] for outcome in outcomes] == [str(film)]
