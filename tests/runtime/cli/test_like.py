"""``vtloc-run --like``: pictures as questions, alone and with sentences."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.support.colours import COLOURS, write_colour_bundle
from tests.support.command_line import lines, run


@pytest.fixture
def blue(film: str) -> str:
    Image.new("RGB", (50, 30), COLOURS["blue"]).save("blue.png")
    return "blue.png"


def asked(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return lines(capsys.readouterr().out)


def test_a_picture_finds_its_moment(
    film: str,
    blue: str,
    bundle: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(film, "--like", blue, "-b", bundle) == 0
    (record,) = asked(capsys)
    assert (record["query"], record["like"]) == ("", [blue])
    assert record["moments"][0]["start"] == pytest.approx(7, abs=0.2)


def test_pictures_ask_with_every_sentence(
    film: str,
    blue: str,
    bundle: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(film, "--like", blue, "-q", "blue", "-q", "a blue", "-b", bundle) == 0
    first, second = asked(capsys)
    assert [(one["query"], one["like"]) for one in (first, second)] == [
        ("blue", [blue]),
        ("a blue", [blue]),
    ]
    assert first["moments"] == second["moments"]
    assert first["moments"][0]["start"] == pytest.approx(7, abs=0.2)


def test_wordings_ask_together_with_one_sentence(
    film: str, blue: str, bundle: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("-q", "blue", "--rewrite", "a blue screen", "--rewrite", "the blue", "--like", blue)
    for command in ((film,), ("search", film)):
        assert run(*command, *words, "-b", bundle) == 0
        (record,) = asked(capsys)
        assert record["query"] == "blue"
        assert record["rewrites"] == ["a blue screen", "the blue"]
        assert record["moments"][0]["start"] == pytest.approx(7, abs=0.2)
        assert run(*command, "-q", "blue", "-q", "red", "--rewrite", "a", "-b", bundle) == 2
        assert run(*command, "--like", blue, "--rewrite", "a", "-b", bundle) == 2
        assert run(*command, "-q", "blue", "--rewrite", " ", "-b", bundle) == 4
        said = capsys.readouterr().err
        assert "other wordings of one sentence" in said
        assert "Traceback" not in said


def test_a_run_with_pictures_resumes_and_notices_a_new_picture(
    film: str,
    blue: str,
    bundle: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = (film, "--like", blue, "-b", bundle, "--out", "found.jsonl")
    assert run(*command) == 0
    before = Path("found.jsonl").read_text()
    assert run(*command) == 0
    assert Path("found.jsonl").read_text() == before
    Image.new("RGB", (50, 30), COLOURS["red"]).save(blue)
    assert run(*command) == 0
    *_, newest = lines(Path("found.jsonl").read_text())
    assert newest["moments"][0]["start"] == 0


def test_a_broken_picture_costs_its_own_job_only(
    film: str,
    blue: str,
    bundle: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("broken.jpg").write_bytes(b"\xff\xd8\xff\xe0" + b"x" * 50)
    Path("jobs.jsonl").write_text(
        "".join(
            json.dumps({"video": film, "like": name}) + "\n" for name in ("broken.jpg", blue, "no")
        )
    )
    assert run("jobs.jsonl", "-b", bundle) == 1
    broken, whole, gone = asked(capsys)
    assert broken["error"]["kind"] == gone["error"]["kind"] == "query"
    assert broken["error"]["where"] == "broken.jpg"
    assert whole["moments"]


def test_a_missing_picture_and_a_bundle_without_a_shared_space_are_one_error(
    film: str,
    blue: str,
    bundle: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(film, "--like", "gone.png", "-b", bundle) == 2
    assert "gone.png" in capsys.readouterr().err
    apart = write_colour_bundle(Path("apart"), shared_space=None)
    assert run(film, "--like", blue, "-b", str(apart)) == 2
    shown = capsys.readouterr()
    assert "share no space" in shown.err
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1


def test_ends_are_refined_for_pictures_too(
    film: str, blue: str, bundle: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(film, "--like", blue, "-q", "blue", "--fine", "-b", bundle) == 0
    (record,) = asked(capsys)
    assert record["moments"][0]["start"] == pytest.approx(7, abs=0.1)


def test_the_report_says_what_was_asked(
    film: str,
    blue: str,
    bundle: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(film, "--like", blue, "-q", "blue", "-b", bundle, "--report", "page.html") == 0
    assert "blue, like blue.png" in Path("page.html").read_text()
