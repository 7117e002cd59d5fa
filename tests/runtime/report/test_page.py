"""The page holds every answer, runs only its own script, and needs no other file."""

from __future__ import annotations

import base64
import hashlib
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.failing_calls import failing_disk
from tests.support.page_reading import PageReader
from vtloc_runtime.errors import OutputError
from vtloc_runtime.report import Answer, Film, Frame, Live, Page, RunFacts, Span
from vtloc_runtime.report.page import format_clock, is_page, render_page, write_page
from vtloc_runtime.system.text import plain


def film(query: str = "a cat", *moments: Span, **changes: Any) -> Film:
    made = Film(
        "film.mp4",
        source="./film.mp4",
        duration=10.0,
        images=("AA==", "BB=="),
        frames=(Frame(1.0, 0), Frame(9.0, 1)),
        answers=(Answer(query, moments),),
    )
    return replace(made, **changes)


def read(page: Page) -> PageReader:
    return PageReader(render_page(page).decode())


def test_it_holds_the_answers_as_they_are() -> None:
    model = read(Page(films=(film("a cat", Span(2.5, 5.0, 0.9)),))).model
    (answer,) = model["films"][0]["answers"]
    assert answer["moments"] == [{"start": 2.5, "end": 5.0, "score": 0.9}]
    assert model["films"][0]["images"] == ["AA==", "BB=="]


def test_its_policy_allows_its_own_script_and_style_and_nothing_else() -> None:
    page = read(Page(films=(film(),)))

    def digest(text: str) -> str:
        found = hashlib.sha256(text.encode()).digest()
        return f"'sha256-{base64.b64encode(found).decode()}'"

    assert page.policy == {
        "default-src": "'none'",
        "script-src": digest(page.scripts[""]),
        "style-src": digest("".join(page.styles)),
        "img-src": "data:",
        "media-src": "'self' file: blob:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_only_a_page_of_a_server_may_ask_it() -> None:
    assert read(Page(live=Live("/ask"))).policy["connect-src"] == "'self'"


def test_it_names_no_other_file_and_no_handler() -> None:
    for tag, attributes in read(Page(films=(film(),))).tags:
        assert not {name for name in attributes if name.startswith("on") or name == "style"}, tag
        for name in ("src", "href"):
            assert attributes.get(name, "data:,") == "data:,", tag


texts = st.text() | st.sampled_from(
    [
        "</script><script>alert(1)</script>",
        "<!--<script>",
        "]]>",
        "{{data}}{{script}}",
        "' onerror='alert(1)",
        "javascript:alert(1)",
        "a\u2028b\u2029c\x00\x1b[31m\u202e",
        "\ud800\udcff",
    ]
)


@settings(max_examples=60, deadline=None)
@given(texts, texts, texts, texts)
def test_whatever_names_and_sentences_hold_they_stay_text(
    name: str, query: str, note: str, bundle: str
) -> None:
    shown = film(query, name=name, warnings=(note,), error=note)
    plainly = read(Page(films=(film(),)))
    page = read(Page(title=name, films=(shown,), run=RunFacts(bundle=bundle, command=note)))
    # The same elements as ever, the same script, and the text itself, made visible.
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in plainly.tags]
    assert page.scripts[""] == plainly.scripts[""]
    (found,) = page.model["films"]
    assert found["name"] == plain(name)
    assert found["answers"][0]["query"] == plain(query)
    assert page.model["run"]["bundle"] == plain(bundle)


def test_controls_and_bidi_characters_do_not_reach_it() -> None:
    hostile = "a\x1b[31m\u202ecat\udcff"
    page = render_page(Page(title=hostile, films=(film(hostile, name=hostile),))).decode()
    assert not set(page) & set("\x1b\u202e")
    assert r"a\x1b[31m\u202ecat\xff" in page.replace("\\\\", "\\")


def test_films_that_it_carries_lie_in_elements_of_their_own() -> None:
    shown = film(carried="film-1")
    page = PageReader(render_page(Page(films=(shown,)), {"film-1": b"\0film"}).decode())
    assert base64.b64decode(page.scripts["film-1"]) == b"\0film"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="report cannot be written"):
        write_page(tmp_path / "file" / "page.html", Page())


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0:00.0"), (7.46, "0:07.5"), (59.96, "1:00.0"), (3723.4, "1:02:03.4")],
)
def test_times_read_as_people_write_them(seconds: float, shown: str) -> None:
    assert format_clock(seconds) == shown


def test_a_page_is_known_by_its_mark(tmp_path: Path) -> None:
    page = write_page(tmp_path / "page.html", Page(films=(film(),)))
    assert is_page(page.read_bytes()[:1024])
    assert not is_page(b"<!doctype html><html><title>mine</title>")


@pytest.mark.parametrize("lasting", [False, True])
def test_whatever_call_fails_the_old_page_stays_or_the_new_is_whole(
    tmp_path: Path, lasting: bool
) -> None:
    path = tmp_path / "page.html"
    for number in count(1):
        path.write_text("old")
        with failing_disk(number, lasting=lasting) as disk, suppress(OutputError):
            write_page(path, Page(films=(film(),)))
        assert path.read_text() == "old" or path.read_text().rstrip().endswith("</html>")
        assert [entry.name for entry in tmp_path.iterdir()] == ["page.html"]
        if not disk.reached:
            return
