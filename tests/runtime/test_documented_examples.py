"""Every Python example of the embedding guide runs, and does what is said beside it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import vtloc_runtime.bundle.bundle
from vtloc_runtime import Localization

GUIDE = Path(__file__).parents[2] / "docs" / "embedding.md"


def examples() -> dict[str, str]:
    """The guide's Python blocks by the heading above each."""
    found = {}
    for part in re.split(r"^#+ ", GUIDE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        title = part.splitlines()[0]
        for block in re.findall(r"```python\n(.*?)```", part, flags=re.DOTALL):
            found[title] = block
    return found


@pytest.fixture
def surroundings(
    colour_bundle: Path, colour_video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder with a ``film.mp4``, and the bundle of colours in the default one's place."""
    monkeypatch.setattr(vtloc_runtime.bundle.bundle, "DEFAULT_BUNDLE", colour_bundle)
    monkeypatch.chdir(tmp_path)
    shutil.copy(colour_video, "film.mp4")


def run(title: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(examples()[title], f"{GUIDE.name}: {title}", "exec"), names)
    return names


def test_the_first_example_prints_moments(
    surroundings: None, capsys: pytest.CaptureFixture[str]
) -> None:
    run("From Python")
    red, blue = capsys.readouterr().out.splitlines()
    assert red.startswith("a red screen (0.0, 4.")
    assert blue.startswith("blue (7.")


def test_threads_share_a_localizer(surroundings: None) -> None:
    videos = run("Threads")["videos"]
    assert [len(video) for video in videos] == [12, 12]


def test_encoding_can_be_given_a_time(surroundings: None) -> None:
    assert len(run("Timeouts and cancelling")["video"]) == 12


def test_asyncio_answers_in_order(surroundings: None) -> None:
    answers = run("asyncio")["answers"]
    assert all(isinstance(answer, Localization) for answer in answers)
    assert [answer.query for answer in answers] == ["red", "green"]


def test_the_observer_counts_every_stage(surroundings: None) -> None:
    assert dict(run("Metrics")["things"]) == {"decode": 12, "encode": 12, "localize": 2}


def test_every_kind_of_question_finds_blue(surroundings: None) -> None:
    Image.new("RGB", (40, 40), (0, 0, 255)).save("blue.png")
    answers = run("Questions")["answers"]
    assert [round(answer.best.start) for answer in answers] == [7, 7, 7, 7]
    assert [answer.like for answer in answers] == [(), (), ("blue.png",), ("a picture",)]


@pytest.mark.parametrize("title", ["Bundles", "Warm-up", "Untrusted files"])
def test_the_other_examples_run(surroundings: None, title: str) -> None:
    run(title)


def test_the_cache_keeps_what_was_encoded(surroundings: None) -> None:
    first = run("Caching encoded videos")
    again = run("Caching encoded videos")
    assert first["video"].timings
    assert not again["video"].timings
    assert first["answer"] == again["answer"]


def test_a_list_of_videos_gives_a_record_a_sentence(
    surroundings: None, capsys: pytest.CaptureFixture[str]
) -> None:
    run("Lists of videos")
    shown = sorted(capsys.readouterr().out.splitlines())
    assert len(shown) == 4
    assert all("FoundMoment(" in line and "'localize'" in line for line in shown[:2])
    assert all("kind='video'" in line for line in shown[2:])


def test_the_web_service_answers(surroundings: None) -> None:
    pytest.importorskip("fastapi", reason="the web service's example needs fastapi")
    testing = pytest.importorskip("fastapi.testclient", reason="its client needs httpx")
    with testing.TestClient(run("A web service")["app"]) as client:
        found = client.post("/moments", json={"video": "film.mp4", "queries": ["green"]})
        assert found.status_code == 200
        (answer,) = found.json()
        assert answer["moments"][0]["start"] == pytest.approx(4, abs=0.2)
        missing = client.post("/moments", json={"video": "gone.mp4", "queries": ["green"]})
        assert missing.status_code == 422
        assert missing.json()["detail"]["kind"] == "video"
        empty = client.post("/moments", json={"video": "film.mp4", "queries": [" "]})
        assert empty.json()["detail"]["kind"] == "query"


def test_every_example_is_run_here() -> None:
    tested = Path(__file__).read_text(encoding="utf-8")
    assert all(f'"{title}"' in tested for title in examples())
