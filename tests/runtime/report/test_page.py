"""The report shows every answer, escapes what people typed, and needs no other file."""

from __future__ import annotations

import re
from contextlib import suppress
from html.parser import HTMLParser
from itertools import count
from pathlib import Path

import pytest

from tests.support.failing_calls import failing_disk
from vtloc_runtime.errors import OutputError
from vtloc_runtime.localize.moments import Localization, Moment
from vtloc_runtime.report import Thumbnail, VideoAnswers, write_page
from vtloc_runtime.report.page import format_clock, is_page


def answers(query: str = "a cat", *moments: Moment) -> VideoAnswers:
    strip = (
        Thumbnail(1.0, "data:image/jpeg;base64,AA"),
        Thumbnail(9.0, "data:image/jpeg;base64,BB"),
    )
    return VideoAnswers("film.mp4", 10.0, (Localization(query, moments),), strip)


def test_a_moment_lies_on_the_timeline_where_it_lies_in_the_video(tmp_path: Path) -> None:
    page = write_page(tmp_path / "page.html", [answers("a cat", Moment(2.5, 5.0, 0.9))])
    assert "left:25.000%;width:25.000%" in page.read_text()
    assert "0:02.5 – 0:05.0" in page.read_text()


def test_pictures_inside_the_best_moment_stand_out(tmp_path: Path) -> None:
    page = write_page(tmp_path / "page.html", [answers("a cat", Moment(0.0, 5.0, 0.9))]).read_text()
    assert len(re.findall(r'class="inside"', page)) == 1
    assert page.index("inside") < page.index("base64,BB")


def test_an_answer_without_a_moment_says_so(tmp_path: Path) -> None:
    page = write_page(tmp_path / "page.html", [answers("a unicorn")]).read_text()
    assert "no such moment" in page


def test_what_people_typed_is_never_markup(tmp_path: Path) -> None:
    page = write_page(tmp_path / "page.html", [answers("<script>alert(1)</script>")]).read_text()
    assert "<script>" not in page


def test_the_page_needs_no_other_file(tmp_path: Path) -> None:
    addresses: list[str] = []

    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            addresses.extend(value or "" for name, value in attrs if name in {"src", "href"})

    page = write_page(tmp_path / "page.html", [answers("a cat", Moment(0, 5, 0.9))])
    Links().feed(page.read_text())
    assert addresses
    assert all(address.startswith("data:") for address in addresses)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="report cannot be written"):
        write_page(tmp_path / "file" / "page.html", [])


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0:00.0"), (7.46, "0:07.5"), (59.96, "1:00.0"), (3723.4, "1:02:03.4")],
)
def test_times_read_as_people_write_them(seconds: float, shown: str) -> None:
    assert format_clock(seconds) == shown


def test_controls_and_bidi_characters_do_not_reach_the_page(tmp_path: Path) -> None:
    hostile = "a\x1b[31m\u202ecat\udcff"
    shown = VideoAnswers(hostile, 10.0, (Localization(hostile, (), (hostile,)),), (), (hostile,))
    page = write_page(tmp_path / "page.html", [shown], title=hostile).read_text("utf-8")
    assert not set(page) & set("\x1b\u202e")
    assert page.count(r"<bdi>a\x1b[31m\u202ecat\xff</bdi>") == 4
    assert "default-src 'none'" in page


def test_a_video_without_length_has_a_page_too(tmp_path: Path) -> None:
    shown = VideoAnswers("film.mp4", 0.0, (Localization("a cat", (Moment(0.0, 0.0, 0.5),)),))
    assert "a cat" in write_page(tmp_path / "page.html", [shown]).read_text()


def test_a_page_is_known_by_its_mark(tmp_path: Path) -> None:
    page = write_page(tmp_path / "page.html", [answers()])
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
            write_page(path, [answers()])
        assert path.read_text() == "old" or path.read_text().endswith("</html>")
        assert [entry.name for entry in tmp_path.iterdir()] == ["page.html"]
        if not disk.reached:
            return
