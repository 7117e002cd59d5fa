"""``vtloc-run search``: what asking every film gives, without asking every film."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.support.colours import COLOURS, write_colour_video
from vtloc_runtime import Localizer
from vtloc_runtime.batch import FeatureCache, PipelineOptions
from vtloc_runtime.cli.main import main
from vtloc_runtime.errors import BackendError
from vtloc_runtime.library.film_search import SearchOptions
from vtloc_runtime.library.search import Library

SENTENCES = ("red", "green", "a blue screen", "yellow")


def run(
    capsys: pytest.CaptureFixture[str], *words: object
) -> tuple[int, list[dict[str, Any]], str]:
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    said = capsys.readouterr()
    assert isinstance(left.value.code, int)
    return left.value.code, [json.loads(line) for line in said.out.splitlines()], said.err


def answer(record: dict[str, Any]) -> dict[str, Any]:
    """What a record says, without how and when it was made."""
    return {name: record.get(name) for name in ("id", "video", "query", "moments", "presence")}


@pytest.fixture
def films(colour_films: Path, tmp_path: Path) -> Path:
    """The films, for a test to change; old enough that their state counts."""
    folder = shutil.copytree(colour_films, tmp_path / "films")
    for path in folder.iterdir():
        settle(path)
    return folder


def settle(path: Path) -> None:
    """Let a file seem to have changed long ago."""
    os.utime(path, (1e9, 1e9))


@pytest.fixture(autouse=True)
def no_recent_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    # No program can set back the time of a file's last change, so let two seconds not matter.
    monkeypatch.setattr("vtloc_runtime.library.update._SETTLED", -1)
    monkeypatch.setattr("vtloc_runtime.localize.encoding.feature_cache._SETTLED", -1)


def test_answers_are_those_of_asking_every_film(
    films: Path, presence_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    queries = [word for sentence in SENTENCES for word in ("-q", sentence)]
    _, asked, _ = run(capsys, films, *queries, "-k", 2, "-b", presence_bundle)
    code, found, _ = run(capsys, "search", films, *queries, "-k", 2, "-b", presence_bundle)
    assert code == 0
    assert [record["query"] for record in found] == [one for one in SENTENCES for _ in range(5)]
    alone = {record["id"]: answer(record) for record in asked}
    assert {record["id"]: answer(record) for record in found} == alone
    for sentence in SENTENCES:
        presences = [one["presence"] for one in found if one["query"] == sentence]
        assert presences == sorted(presences, reverse=True)
    for top in (1, 2, 3):
        _, best, _ = run(
            capsys, "search", films, *queries, "--top", top, "-k", 2, "-b", presence_bundle
        )
        expected = [
            answer(one)
            for sentence in SENTENCES
            for one in [record for record in found if record["query"] == sentence][:top]
        ]
        assert [one["presence"] for one in best] == [one["presence"] for one in expected]


def test_only_films_that_show_it(
    films: Path, presence_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, found, _ = run(capsys, "search", films, "-q", "green", "--found-only", "-b", presence_bundle)
    names = {Path(record["video"]).stem for record in found}
    assert names == {"red then green", "cyan, magenta, green"}
    assert all(record["moments"] for record in found)
    least = max(record["moments"][0]["score"] for record in found)
    words = ("search", films, "-q", "green", "-b", presence_bundle)
    _, sure, _ = run(capsys, *words, "--min-score", least)
    assert sure
    assert all(record["moments"][0]["score"] >= least for record in sure)


def test_a_second_search_reads_no_film(
    films: Path,
    presence_bundle: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = ("search", films, "-q", "red", "-b", presence_bundle)
    _, first, _ = run(capsys, *words)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a film was read")

    monkeypatch.setattr("vtloc_runtime.localize.localizer.Localizer.encode_video", refuse)
    monkeypatch.setattr("vtloc_runtime.library.update.FilmReader.entry", refuse)
    _, second, _ = run(capsys, *words)
    assert [answer(one) for one in first] == [answer(one) for one in second]


def test_the_index_follows_the_films(
    films: Path, presence_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("search", films, "-q", "magenta", "--found-only", "-b", presence_bundle)
    assert [Path(one["video"]).stem for one in run(capsys, *words)[1]] == ["cyan, magenta, green"]
    write_colour_video(films / "new.mp4", [("magenta", 4)])
    (films / "cyan, magenta, green.mp4").unlink()
    assert [Path(one["video"]).stem for one in run(capsys, *words)[1]] == ["new"]
    (films / "new.mp4").rename(films / "renamed.mp4")
    write_colour_video(films / "blue.mp4", [("magenta", 5)])
    names = [Path(one["video"]).stem for one in run(capsys, *words)[1]]
    assert sorted(names) == ["blue", "renamed"]
    write_colour_video(films / "blue.mp4", [("blue", 5)])
    assert [Path(one["video"]).stem for one in run(capsys, *words)[1]] == ["renamed"]


def test_films_that_cannot_be_read_are_reported_and_cost_only_themselves(
    films: Path,
    presence_bundle: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (films / "broken.mp4").write_text("words")
    words = ("search", films, "-q", "red", "--top", 1, "-b", presence_bundle)
    code, found, said = run(capsys, *words)
    assert code == 1
    assert len(found) == 1
    assert "broken.mp4" in said

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a film was read")

    monkeypatch.setattr("vtloc_runtime.library.update.FilmReader.entry", refuse)
    code, _, said = run(capsys, *words)
    assert code == 1
    assert "broken.mp4" in said


def test_without_a_sentence_the_index_is_brought_up_to_date(
    films: Path, presence_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found, said = run(capsys, "search", films, "-b", presence_bundle)
    assert (code, found) == (0, [])
    assert "5 films" in said


def test_a_bundle_without_presence_ranks_by_the_closest_frame(
    films: Path, colour_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, found, _ = run(capsys, "search", films, "-q", "blue", "--top", 2, "-b", colour_bundle)
    assert {Path(one["video"]).stem for one in found} == {"blue", "yellow then blue"}


def test_a_picture_searches_alone_and_with_sentences(
    films: Path, presence_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    magenta = tmp_path / "magenta.png"
    Image.new("RGB", (50, 30), COLOURS["magenta"]).save(magenta)
    words = (films, "--like", magenta, "-b", presence_bundle)
    _, asked, _ = run(capsys, *words)
    code, found, _ = run(capsys, "search", *words)
    assert code == 0
    alone = {record["id"]: answer(record) for record in asked}
    assert {record["id"]: answer(record) for record in found} == alone
    assert Path(found[0]["video"]).stem == "cyan, magenta, green"
    assert (found[0]["query"], found[0]["like"]) == ("", [str(magenta)])
    _, both, _ = run(capsys, "search", *words, "-q", "magenta", "-q", "blue", "--top", 1)
    assert [(one["query"], one["like"]) for one in both] == [
        ("magenta", [str(magenta)]),
        ("blue", [str(magenta)]),
    ]


def test_pictures_that_cannot_be_read_are_refused_before_films_are(
    films: Path, presence_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff\xe0" + b"x" * 50)
    for place, expected in ((broken, 4), (tmp_path / "gone.png", 2), (tmp_path, 2)):
        code, found, said = run(capsys, "search", films, "--like", place, "-b", presence_bundle)
        assert (code, found) == (expected, [])
        assert str(place) in said
        assert "searched" not in said
        assert len(said.splitlines()) == 1


def test_the_films_become_a_page_in_their_order(
    films: Path, presence_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    words = ("search", films, "-q", "green", "--found-only", "-b", presence_bundle)
    code, found, said = run(capsys, *words, "--report", page)
    assert code == 0
    assert str(page) in said
    text = page.read_text()
    places = [text.index(Path(record["video"]).name) for record in found]
    assert len(places) == 2
    assert places == sorted(places)
    assert "yellow then blue" not in text
    _, silent, _ = run(capsys, *words, "--format", "csv", "--to", tmp_path / "found.csv")
    assert [one["id"] for one in silent] == [one["id"] for one in found]
    assert "green" in (tmp_path / "found.csv").read_text()


def test_a_search_that_finds_nothing_is_a_page_too(
    films: Path, presence_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    (films / "cyan, magenta, green.mp4").unlink()
    words = ("search", films, "-q", "magenta", "--found-only", "-b", presence_bundle)
    code, found, said = run(capsys, *words, "--report", page, "--clips", tmp_path / "clips")
    assert (code, found) == (0, [])
    assert "searched 4 films" in said
    assert page.read_text().startswith("<!")


def test_a_question_of_too_many_pictures_is_refused_before_films_are_read(
    films: Path, presence_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blue = tmp_path / "blue.png"
    Image.new("RGB", (50, 30), COLOURS["blue"]).save(blue)
    pictures = [word for _ in range(64) for word in ("--like", blue)]
    code, found, said = run(capsys, "search", films, *pictures, "-q", "blue", "-b", presence_bundle)
    assert (code, found) == (4, [])
    assert "65 wordings and pictures" in said


def test_outputs_replace_no_film_and_need_a_question(
    films: Path, presence_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    film = films / "red.mp4"
    before = film.read_bytes()
    words = ("search", films, "-b", presence_bundle, "--report")
    assert run(capsys, *words, film, "-q", "red")[0] == 8
    assert film.read_bytes() == before
    code, _, said = run(capsys, *words, tmp_path / "page.html")
    assert code == 2
    assert "-q" in said


def test_a_library_of_many_films_asks_few(
    films: Path, presence_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vtloc_runtime.library.film_search.available_processors", lambda: 1)
    with Localizer.open(presence_bundle) as localizer:
        library = Library([str(films)], localizer, FeatureCache())
        library.update()
        asked: list[str] = []
        ask = localizer.localize

        def count(*arguments: Any, **options: Any) -> Any:
            asked.append("film")
            return ask(*arguments, **options)

        monkeypatch.setattr(localizer, "localize", count)
        (records,) = library.search(["magenta"], SearchOptions(top=1))
    assert len(records) == 1
    assert len(asked) <= 2


def test_an_update_that_is_stopped_is_resumed(films: Path, presence_bundle: Path) -> None:
    with Localizer.open(presence_bundle) as localizer:
        library = Library(
            [str(films)], localizer, FeatureCache(), pipeline=PipelineOptions(workers=1)
        )
        seen: list[str] = []
        library.update(done=seen.append, stop=lambda: len(seen) >= 2)
        assert 2 <= len(library.films) < 5
        assert len(library.films) + len(library.waiting) == 5
        (records,) = library.search(["red"])
        assert len(records) == len(library.films)
        library.update(done=seen.append)
        assert len(library.films) == 5
        assert len(seen) == 5


def test_files_that_changed_a_moment_ago_are_searched_too(
    colour_films: Path,
    presence_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("vtloc_runtime.library.update._SETTLED", 10**15)
    folder = shutil.copytree(colour_films, tmp_path / "fresh")
    for _ in range(2):
        _, found, _ = run(capsys, "search", folder, "-q", "red", "-b", presence_bundle)
        assert len(found) == 5


def test_without_a_shared_space_there_is_no_search(
    films: Path, small_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Localizer.open(small_bundle) as localizer, pytest.raises(BackendError, match="share"):
        Library([str(films)], localizer, FeatureCache())


def test_names_that_are_not_text_are_found(
    films: Path, presence_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (films / "blue.mp4").rename(os.fsdecode(os.fsencode(films) + b"/\xff\n.mp4"))
    for _ in range(2):
        _, found, _ = run(capsys, "search", films, "-q", "blue", "--top", 2, "-b", presence_bundle)
        assert any(record["video"].endswith("\\xff\n.mp4") for record in found)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--top", "0"], "top"),
        (["--moments", "101"], "moments"),
        (["--min-score", "2"], "min-score"),
        (["-q", ""], "sentence"),
        (["--ray", "local"], "one machine"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    films: Path,
    presence_bundle: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    reason: str,
) -> None:
    code, found, said = run(capsys, "search", films, "-q", "red", "-b", presence_bundle, *words)
    assert code in {2, 4}
    assert not found
    assert reason in said


def test_searches_during_an_update_see_a_whole_index(films: Path, presence_bundle: Path) -> None:
    import threading

    with Localizer.open(presence_bundle) as localizer:
        library = Library([str(films)], localizer, FeatureCache())
        library.update()
        stopped = threading.Event()

        def change() -> None:
            while not stopped.is_set():
                for name in ("a", "b"):
                    shutil.copy(films / "red.mp4", films / f"{name}.mp4")
                    library.update()
                (films / "a.mp4").unlink()
                time.sleep(0.01)

        thread = threading.Thread(target=change)
        thread.start()
        try:
            for _ in range(20):
                (records,) = library.search(["red"], SearchOptions(top=50))
                assert 5 <= len(records) <= 7
        finally:
            stopped.set()
            thread.join()
