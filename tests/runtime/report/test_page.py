"""The report shows every answer, escapes what people typed, and needs no other file."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from vtloc_runtime.errors import OutputError
from vtloc_runtime.localize.moments import Localization, Moment
from vtloc_runtime.report import Thumbnail, VideoAnswers, write_page
from vtloc_runtime.report.page import format_clock


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
