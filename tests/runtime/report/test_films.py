"""Films of a page: grouped answers, pictures from the right places, addresses that are paths."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vtloc_runtime.video
from vtloc_runtime.batch.results.records import Failure, FoundMoment, Record
from vtloc_runtime.errors import UsageError
from vtloc_runtime.report import films
from vtloc_runtime.report.films import CarriedFilms, build_films, film_address
from vtloc_runtime.report.filmstrip import choose_instants, read_filmstrip
from vtloc_runtime.video import reader
from vtloc_runtime.video.isolation.limits import DecoderLimits


def record(video: Path | str, query: str = "red", **changes: Any) -> Record:
    fields: dict[str, Any] = {
        "id": query,
        "video": str(video),
        "query": query,
        "moments": (FoundMoment(start=4.0, end=7.0, score=0.5),),
        "duration": 12.0,
    }
    return Record(**{**fields, **changes})


def test_pictures_are_from_all_over_the_film_and_from_inside_its_moments() -> None:
    instants = choose_instants(3600.0, [(100.0, 110.0)])
    assert len([one for one in instants if 100 <= one <= 110]) == 5
    assert len(instants) == 16 + 5
    assert list(instants) == sorted(set(instants))


@given(
    st.floats(0, 1e6),
    st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e6))),
    st.integers(1, 5000),
)
def test_pictures_are_few_and_inside_the_film(
    duration: float, spans: list[tuple[float, float]], count: int
) -> None:
    instants = choose_instants(duration, spans, films=count)
    assert len(instants) <= 64
    assert all(0 <= one <= duration for one in instants)


def test_each_picture_is_held_once(colour_video: Path) -> None:
    strip = read_filmstrip(colour_video, [1.0, 2.0, 3.0, 5.0])
    assert [frame.time for frame in strip.frames] == [1.0, 2.0, 3.0, 5.0]
    assert len(strip.images) < len(strip.frames)


def test_this_process_decodes_nothing(colour_video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("decoded in the main process")

    monkeypatch.setattr(reader.FrameReader, "__init__", refuse)
    monkeypatch.setattr(vtloc_runtime.video, "open_video", refuse)
    (shown,) = build_films([record(colour_video)])
    assert len(shown.frames) == 16 + 5


@pytest.mark.parametrize("error", [ValueError("31 is not a valid Type"), UsageError("busy")])
def test_whatever_goes_wrong_the_answers_are_shown(
    error: Exception, colour_video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(films, "read_filmstrip", fail)
    (shown,) = build_films([record(colour_video)], explain=fail)
    assert shown.frames == ()
    assert shown.answers[0].moments


def test_files_that_have_gone_or_changed_cost_only_their_pictures(
    tmp_path: Path, colour_video: Path
) -> None:
    (tmp_path / "words.mp4").write_text("words")
    records = [
        record(tmp_path / "gone.mp4"),
        record(tmp_path / "words.mp4"),
        record(colour_video),
    ]
    shown = build_films(records, limits=DecoderLimits(max_duration=60))
    assert [bool(one.frames) for one in shown] == [False, False, True]
    assert all(one.answers[0].moments for one in shown)


def test_a_film_that_could_not_be_read_has_an_error_and_no_answer_to_show() -> None:
    lost = Failure(kind="video", what="holds no video stream", remedy="Give a film")
    (shown,) = build_films([record("sound.mp4", moments=None, duration=None, error=lost)])
    assert shown.error == "holds no video stream. Give a film"
    refused = Failure(kind="query", what="the sentence is empty")
    (shown,) = build_films([record("gone.mp4", moments=None, error=refused)])
    assert shown.error == ""
    assert shown.answers[0].error == "the sentence is empty"


def test_what_all_sentences_share_is_said_of_the_film_once() -> None:
    records = [
        record("gone.mp4", "red", warnings=("cut short", "no such word")),
        record("gone.mp4", "blue", warnings=("cut short",)),
    ]
    (shown,) = build_films(records)
    assert shown.warnings == ("cut short",)
    assert [answer.warnings for answer in shown.answers] == [("no such word",), ()]


names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1)


@given(names.filter(lambda name: name not in (".", "..") and len(os.fsencode(name)) < 200))
def test_an_address_is_a_path_whatever_the_name(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    folder = tmp_path_factory.mktemp("films")
    path = folder / name
    path.write_bytes(b"film")
    address = film_address(str(path), folder)
    parts = urlsplit(address)
    assert (parts.scheme, parts.netloc, parts.query, parts.fragment) == ("", "", "", "")
    assert parts.path.startswith("./")
    assert unquote_to_bytes(parts.path[2:]) == os.fsencode(name)


def test_only_films_that_are_there_have_an_address(tmp_path: Path) -> None:
    for name in ("javascript:alert(1)", "https://host/film.mp4", "gone.mp4", "a\0b", "."):
        assert film_address(name, tmp_path) == ""


def test_small_films_are_carried_and_large_ones_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(films, "LARGEST_CARRIED", 10)
    monkeypatch.setattr(films, "MOST_CARRIED", 15)
    for name, size in (("a", 10), ("b", 11), ("c", 10), ("d", 5)):
        (tmp_path / name).write_bytes(bytes(size))
    carried = CarriedFilms()
    taken = [carried.take(str(tmp_path / name)) for name in ("a", "b", "c", "d", "gone")]
    assert taken == ["film-1", "", "", "film-2", ""]
