"""Outputs beside the results: pages, plots, clips, formats, and ``vtloc-run export``."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import webvtt

from tests.support.command_line import run
from tests.support.page_reading import PageReader


@pytest.fixture
def results(film: str, bundle: str) -> str:
    """Results of two sentences about the film."""
    assert run(film, "-q", "green", "-q", "blue", "-b", bundle, "-o", "found.jsonl") == 0
    return "found.jsonl"


def page(path: str = "page.html") -> dict[str, Any]:
    return PageReader(Path(path).read_text("utf-8")).model


def give(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    """Put bytes on standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_a_page_has_evidence_pictures_and_what_ran(
    film: str, bundle: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(film, "gone.mp4", "-q", "green", "-b", bundle, "--report", "page.html") == 1
    model = page()
    shown, gone = model["films"]
    (answer,) = shown["answers"]
    assert answer["moments"][0]["start"] == 4.0
    assert len(answer["curve"]) == len(shown["times"]) == 12
    assert answer["words"] == ["green"]
    assert shown["source"] == "./film.mp4"
    assert shown["frames"]
    assert gone["error"].startswith("cannot be opened")
    assert model["run"]["bundle"] == "colours"
    assert model["run"]["digest"].startswith("sha256:")
    assert model["run"]["backend"] == "onnxruntime:cpu"


def test_a_page_of_a_resumed_run_and_without_a_cache_has_the_same_evidence(
    film: str, bundle: str, own_cache: Path
) -> None:
    arguments = [film, "-q", "green", "-b", bundle, "--report", "page.html"]
    run(*arguments, "--no-cache")
    first = page()["films"]
    assert not list(own_cache.glob("*.safetensors"))
    run(*arguments, "-o", "found.jsonl")
    run(*arguments, "-o", "found.jsonl")
    assert page()["films"] == first


def test_a_page_is_addressed_from_where_it_lies(film: str, bundle: str) -> None:
    run(film, "-q", "green", "-b", bundle, "--report", "deep/er/page.html", "--embed")
    (shown,) = page("deep/er/page.html")["films"]
    assert shown["source"] == "./../../film.mp4"
    assert shown["carried"] == "film-1"


def test_a_picture_that_asks_has_a_curve_and_no_words(film: str, bundle: str) -> None:
    image = pytest.importorskip("PIL.Image")
    image.new("RGB", (48, 48), (0, 255, 0)).save("green.png")
    arguments = [film, "--like", "green.png", "-b", bundle, "--clips", "clips"]
    assert run(*arguments, "--report", "page.html") == 0
    (answer,) = page()["films"][0]["answers"]
    assert answer["query"] == "like green.png"
    assert answer["moments"][0]["start"] == 4.0
    assert max(answer["curve"][4:7]) == pytest.approx(1, abs=0.01)
    assert answer["words"] == []
    assert [path.name for path in Path("clips").glob("*.mp4")] == ["film-like-green.png-1.mp4"]


def test_clips_and_plots_are_written_and_written_again(
    film: str, bundle: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    arguments = [film, "-q", "green", "-b", bundle, "--clips", "clips", "--plot", "plots"]
    for _ in range(2):
        assert run(*arguments) == 0
    assert Path("clips/film-green-1.mp4").stat().st_size > 500
    assert Path("plots/film-green.pdf").read_bytes().startswith(b"%PDF")
    assert "1 of 1 clips were cut" in capsys.readouterr().err


def test_the_same_answer_gives_the_same_plot(film: str, bundle: str) -> None:
    pytest.importorskip("matplotlib")
    for folder in ("a", "b"):
        run(film, "-q", "green", "-b", bundle, "--plot", folder)
    assert Path("a/film-green.pdf").read_bytes() == Path("b/film-green.pdf").read_bytes()


def test_a_format_takes_the_place_of_json_lines(
    film: str, bundle: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(film, "-q", "green", "-b", bundle, "--format", "vtt") == 0
    (cue,) = webvtt.from_string(capsys.readouterr().out).captions
    assert (cue.start, cue.end, cue.text) == ("00:00:04.000", "00:00:07.000", "green")


def test_finished_results_are_handed_over(results: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run("export", results, "--format", "jsonl") == 0
    assert capsys.readouterr().out == Path(results).read_text()
    assert run("export", results, "--format", "srt", "--to", "film.srt") == 0
    assert "00:00:04,000 --> 00:00:07,000" in Path("film.srt").read_text()
    assert run("export", results, "--format", "fcpxml", "--to", "cut.fcpxml") == 0
    assert 'frameDuration="1s"' in Path("cut.fcpxml").read_text()
    assert run("export", results, "--report", "page.html", "--clips", "clips", "--exact-clips") == 0
    assert [answer["query"] for answer in page()["films"][0]["answers"]] == ["green", "blue"]
    assert len(list(Path("clips").glob("*.mp4"))) == 2


def test_formats_of_one_film_go_to_a_folder(
    results: str, film: str, bundle: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(film, "other.mp4")
    run(film, "other.mp4", "-q", "green", "-q", "blue", "-b", bundle, "-o", results)
    capsys.readouterr()
    assert run("export", results, "--format", "llc") == 2
    assert "Name a folder with --to" in capsys.readouterr().err
    for _ in range(2):
        assert run("export", results, "--format", "llc", "--to", "projects") == 0
    names = {path.name for path in Path("projects").iterdir()}
    assert names == {"film.mp4.llc", "other.mp4.llc", ".vtloc-files.json"}


def test_where_nothing_was_found_no_timeline_is_written(
    film: str, bundle: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run("gone.mp4", "-q", "green", "-b", bundle, "-o", "none.jsonl")
    assert run("export", "none.jsonl", "--format", "fcpxml", "--to", "cut.fcpxml") == 0
    assert "no moment was found" in capsys.readouterr().err
    assert not Path("cut.fcpxml").exists()


def test_a_format_of_one_film_is_refused_before_any_work(
    film: str, bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vtloc_runtime.localize.localizer import Localizer

    monkeypatch.setattr(Localizer, "open", lambda *_, **__: pytest.fail("the work began"))
    assert run(film, "other.mp4", "-q", "green", "-b", bundle, "--format", "vtt") == 2


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "nothing to write"),
        (["--format", "xlsx"], 2, "'xlsx' is unknown"),
        (["--to", "x.csv"], 2, "--to needs --format"),
        (["--embed"], 2, "--embed needs --report"),
        (["--exact-clips", "--report", "p.html"], 2, "--exact-clips needs --clips"),
        (["--format", "csv", "--rate", "25"], 2, "--rate is for"),
        (["--format", "fcpxml", "--rate", "fast"], 2, "not a frame rate"),
        (["--clips", "c", "--clip-name", "{movie}"], 2, "{movie}"),
        (["--format", "csv", "--to", "found.jsonl"], 8, "which is an input"),
        (["--format", "csv", "--to", "film.mp4"], 8, "which is an input"),
        (["--format", "srt", "--to", "mine.srt"], 8, "did not write"),
        (["--report", "mine.srt"], 8, "did not write"),
        (["--clips", "mine.srt"], 8, "not a folder"),
        (["--format", "csv", "--to", "mine.srt/x.csv"], 8, "cannot be written"),
        (["--format", "csv", "--to", "p.html", "--report", "p.html"], 8, "the same file"),
    ],
)
def test_what_cannot_be_meant_is_one_line_and_loses_nothing(
    results: str,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    Path("mine.srt").write_text("mine")
    before = {path: path.read_bytes() for path in Path().iterdir() if path.is_file()}
    capsys.readouterr()
    assert run("export", results, *arguments) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    after = {path: path.read_bytes() for path in Path().iterdir() if path.is_file()}
    assert after == before


@pytest.mark.parametrize(
    "line",
    [
        "words",
        '{"id":"1","video":"f","query":"q","moments":[{"start":5,"end":4,"score":1}]}',
        '{"id":"1","video":"f","query":"q","moments":[{"start":-1,"end":4,"score":1}]}',
        '{"id":"1","video":"f","query":"q","moments":[{"start":1,"end":1e300,"score":1}]}',
        '{"id":"1","video":"f","query":"q","moments":[{"start":1,"end":2,"score":7}]}',
        '{"id":"1","video":"f","query":"q","duration":-1}',
        '{"id":"1","video":"f","query":"q","moments":[],"check":"00000000"}',
    ],
)
def test_results_that_no_run_gives_are_refused(
    bundle: str, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    Path("odd.jsonl").write_text(f"{line}\n")
    assert run("export", "odd.jsonl", "--format", "csv") == 8
    assert "odd.jsonl:1" in capsys.readouterr().err


def test_edited_results_and_torn_ones_are_taken(
    results: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = Path(results).read_text().splitlines(keepends=True)
    record = json.loads(lines[0])
    del record["check"]
    record["query"] = "edited"
    Path(results).write_text(json.dumps(record) + "\n" + lines[1] + lines[1][:40])
    capsys.readouterr()
    assert run("export", results, "--format", "csv") == 0
    text = capsys.readouterr().out
    assert "edited" in text
    assert len(text.splitlines()) == 3


# ---- standard streams ---------------------------------------------------------------------------


def test_a_film_on_standard_input(
    film: str, bundle: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = set()
    for _ in range(2):
        give(monkeypatch, Path(film).read_bytes())
        assert run("-", "-q", "green", "-b", bundle) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["video"] == "-"
        assert found["moments"][0]["start"] == 4.0
        ids.add(found["id"])
    assert len(ids) == 1
    give(monkeypatch, Path(film).read_bytes())
    assert run("-", "-q", "green", "-b", bundle, "--report", "page.html", "--quiet") == 0
    assert page()["films"][0]["frames"]


@pytest.mark.parametrize(
    "text",
    ["film.mp4\n", "video,query\nfilm.mp4,green\n", '{"video": "film.mp4"}\n', "﻿film.mp4"],
)
def test_a_list_on_standard_input(
    film: str,
    bundle: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    text: str,
) -> None:
    give(monkeypatch, text.encode())
    assert run("-", "-q", "green", "-b", bundle) == 0
    assert json.loads(capsys.readouterr().out)["video"] == "film.mp4"


def test_sentences_come_from_a_file_or_standard_input(
    film: str, bundle: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("sentences.txt").write_text("green\n\n  blue \n")
    assert run(film, "-q", "red", "--queries", "sentences.txt", "-b", bundle) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["query"] for line in lines] == ["red", "green", "blue"]
    give(monkeypatch, b"green\n")
    assert run(film, "--queries", "-", "-b", bundle) == 0
    assert json.loads(capsys.readouterr().out)["query"] == "green"


def test_results_go_to_standard_output_on_request(
    film: str, bundle: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(film, "-q", "green", "-b", bundle, "--out", "-") == 0
    assert json.loads(capsys.readouterr().out)["query"] == "green"
    assert not Path("-").exists()
    assert run(film, "-q", "green", "-b", bundle, "--report", "-") == 0
    assert capsys.readouterr().out.startswith("<!doctype html>")


@pytest.mark.parametrize(
    "refused",
    [
        (b"", ["-", "-q", "red"], "standard input is empty"),
        (b"x", ["-", "-q", "red", "--queries", "-"], "only once"),
        (b"\n\n", ["film.mp4", "--queries", "-"], "holds no sentence"),
        (b"\xff", ["film.mp4", "--queries", "-"], "not UTF-8"),
        (b"x", ["film.mp4", "-q", "red", "--out", "-", "--format", "csv"], "cannot both"),
        (b"x", ["film.mp4", "--queries", "gone.txt"], "cannot read the file of sentences"),
    ],
)
def test_standard_input_that_cannot_be_used_is_one_line(
    film: str,
    bundle: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    refused: tuple[bytes, list[str], str],
) -> None:
    content, arguments, message = refused
    give(monkeypatch, content)
    assert run(*arguments, "-b", bundle) in (2, 9)
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
