"""The page in a real browser: play, seek, search, sort, keys, phones, the dark, hostile names."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import running_browser, write_webm
from vtloc_runtime.batch.results.records import Failure, FoundMoment, Record
from vtloc_runtime.report import Answer, Film, Frame, Live, Page, Span
from vtloc_runtime.report.evidence import Evidence, SentenceEvidence
from vtloc_runtime.report.films import CarriedFilms, build_films
from vtloc_runtime.report.page import render_page, write_page

HOSTILE = "<img src=x onerror=window.hit=1>'\"#?%41.webm"

pytestmark = pytest.mark.xdist_group("browser")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with running_browser() as running:
        yield running


def record(
    video: Path | str, query: str, *spans: tuple[float, float, float], **more: Any
) -> Record:
    moments = tuple(FoundMoment(start=a, end=b, score=score) for a, b, score in spans)
    fields: dict[str, Any] = {"moments": moments, "duration": 12.0, "presence": 0.25}
    return Record(id=f"{video} {query}", video=str(video), query=query, **{**fields, **more})


def explain(_: str, records: Any) -> Evidence:
    import base64

    rising = tuple(0.1 * step for step in range(12))
    weights = base64.b64encode(bytes([255] * 12 + [0] * 12)).decode()
    found = SentenceEvidence(rising, ("a", "word"), weights)
    return Evidence(
        tuple(map(float, range(12))), dict.fromkeys([one.asked for one in records], found)
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page over two films, one of them with a hostile name, and one that cannot be read."""
    place = tmp_path_factory.mktemp("page")
    film = write_webm(place / HOSTILE, [("red", 4), ("green", 3), ("blue", 5)])
    other = write_webm(place / "other.webm", [("yellow", 12)])
    lost = Failure(kind="video", what="holds no bytes")
    records = [
        record(film, "green", (4.0, 7.0, 0.9), (9.0, 11.0, 0.4)),
        record(film, "a <b>tag</b>"),
        record(other, "yellow", (0.0, 12.0, 0.95)),
        record("lost.webm", "green", error=lost, moments=None, duration=None),
    ]
    films = build_films(records, folder=place, explain=explain)
    write_page(place / "page.html", Page(films=films))
    carried = CarriedFilms()
    films = build_films(records[:1], folder=place / "elsewhere", carried=carried)
    write_page(place / "carried.html", Page(films=films), carried.films)
    return place


@pytest.fixture
def page(browser: Any, folder: Path) -> Iterator[Any]:
    yield from _opened(browser, (folder / "page.html").as_uri())


def _opened(browser: Any, address: str, **options: Any) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1300, "height": 900}, **options)
    shown = context.new_page()
    faults: list[str] = []
    shown.on("pageerror", lambda error: faults.append(str(error)))
    shown.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    shown.goto(address)
    yield shown
    context.close()
    assert not faults


def player(page: Any, what: str) -> Any:
    return page.evaluate(f"document.getElementById('player').{what}")


def wait_for(page: Any, what: str) -> None:
    """Wait until an expression holds; Playwright's own way needs eval, which the page forbids."""
    end = time.monotonic() + 15
    while not page.evaluate(what):
        assert time.monotonic() < end, what
        page.wait_for_timeout(30)


def loaded(page: Any) -> None:
    wait_for(page, "document.getElementById('player').readyState >= 2")


def test_the_film_is_at_the_best_moment_at_once(page: Any) -> None:
    loaded(page)
    wait_for(page, "Math.abs(document.getElementById('player').currentTime - 4) < 0.1")
    assert page.text_content("#query") == "“green”"
    assert page.text_content("#verdict") == "0:04.0 – 0:07.0 and 1 more, presence 0.25"


def test_a_click_on_a_moment_plays_it_to_its_end(page: Any) -> None:
    loaded(page)
    page.click("#moments li:nth-child(2) .go")
    wait_for(page, "document.getElementById('player').currentTime > 10.8")
    wait_for(page, "document.getElementById('player').paused")
    # On a busy machine it stops late, but never plays on to the film's end.
    assert player(page, "currentTime") < 11.9


@pytest.mark.parametrize("plot", [".strip", ".curve", ".words", "#axis"])
def test_a_click_anywhere_on_the_timeline_seeks(page: Any, plot: str) -> None:
    loaded(page)
    page.locator(plot).scroll_into_view_if_needed()
    axis = page.locator("#axis").bounding_box()
    box = page.locator(plot).bounding_box()
    page.mouse.click(axis["x"] + axis["width"] * 0.75, box["y"] + box["height"] / 2)
    wait_for(page, "Math.abs(document.getElementById('player').currentTime - 9) < 0.15")
    assert page.get_attribute("#axis", "aria-valuetext") == "0:09.0 of 0:12.0"


def test_the_curve_and_the_words_are_drawn_over_the_film(page: Any) -> None:
    assert page.locator(".curve .span").count() == 2
    assert "highest at 0:11.0" in page.get_attribute(".curve", "aria-label")
    assert page.locator(".words-labels span").all_text_contents() == ["a", "word"]
    # The first word has every second, the second none.
    inked = page.evaluate(
        "(() => { const c = document.querySelector('.words canvas');"
        " const p = c.getContext('2d').getImageData(0, 0, c.width, 2).data;"
        " return [p[3], p[4 * (2 * c.width) - 1]]; })()"
    )
    assert inked == [255, 0]


def test_pictures_inside_the_moments_stand_out_and_lead_there(page: Any) -> None:
    loaded(page)
    assert page.locator(".strip img.inside").count() == 4 + 3
    page.locator("#moments li").nth(1).locator(".frames button").first.click()
    wait_for(page, "Math.abs(document.getElementById('player').currentTime - 9.2) < 0.3")


def test_answers_are_searched_filtered_and_sorted(page: Any) -> None:
    def rows() -> list[str]:
        found: list[str] = page.locator(".row .sentence").all_text_contents()
        return found

    assert rows() == ["green", "a <b>tag</b>", "yellow"]
    page.select_option("#sort", "score")
    assert rows() == ["yellow", "green", "a <b>tag</b>"]
    page.select_option("#only", "none")
    assert rows() == ["a <b>tag</b>"]
    page.select_option("#only", "all")
    page.fill("#search", "OTHER yell")
    assert rows() == ["yellow"]
    page.fill("#search", "nothing like it")
    assert rows() == []
    assert page.is_visible("#nothing")


def test_films_that_could_not_be_read_are_gathered_apart(page: Any) -> None:
    assert page.text_content("#unreadable summary") == "1 film could not be read"
    page.click("#unreadable summary")
    assert page.text_content("#unreadable li") == "lost.webm holds no bytes"


def test_everything_can_be_done_with_keys(page: Any) -> None:
    loaded(page)
    page.keyboard.press("/")
    page.keyboard.type("other")
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowDown")
    assert "tag" in page.text_content("#query")
    page.keyboard.press("ArrowUp")
    loaded(page)
    page.keyboard.press("2")
    wait_for(page, "document.getElementById('player').currentTime >= 9")
    page.keyboard.press("Space")
    wait_for(page, "document.getElementById('player').paused")
    page.focus("#axis")
    page.keyboard.press("Home")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert page.get_attribute("#axis", "aria-valuenow") == "3.0"


def test_time_codes_can_be_copied(browser: Any, folder: Path) -> None:
    for page in _opened(
        browser,
        (folder / "page.html").as_uri(),
        permissions=["clipboard-read", "clipboard-write"],
    ):
        page.locator(".copy").first.click()
        page.wait_for_selector("text=Copied")
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied == "00:00:04.000 00:00:07.000"


def test_hostile_names_are_text_and_their_film_plays(page: Any) -> None:
    loaded(page)
    assert page.text_content("#film-name").endswith(HOSTILE)
    assert page.evaluate("window.hit") is None
    assert page.locator("main b").count() == 0


def test_a_film_that_has_gone_leaves_its_pictures(browser: Any, folder: Path) -> None:
    (folder / "moved").mkdir(exist_ok=True)
    moved = folder / "moved" / "page.html"
    moved.write_bytes((folder / "page.html").read_bytes())
    context = browser.new_context()
    page = context.new_page()
    page.goto(moved.as_uri())
    page.wait_for_selector("#player-note:visible")
    assert "cannot be played here" in page.text_content("#player-note")
    page.locator("#moments .go").nth(1).click()
    assert page.get_attribute("#still", "alt").startswith("The film at 0:09")
    context.close()


def test_a_film_in_the_page_plays_from_anywhere(browser: Any, folder: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.html"
    alone.write_bytes((folder / "carried.html").read_bytes())
    for page in _opened(browser, alone.as_uri()):
        loaded(page)
        assert player(page, "currentSrc").startswith("blob:")
        wait_for(page, "Math.abs(document.getElementById('player').currentTime - 4) < 0.1")


def test_it_fits_a_phone_and_goes_dark(browser: Any, folder: Path) -> None:
    address = (folder / "page.html").as_uri()
    context = browser.new_context(viewport={"width": 360, "height": 740}, color_scheme="dark")
    page = context.new_page()
    page.goto(address)
    assert page.is_hidden("#detail")
    page.locator(".row").nth(2).click()
    assert page.is_visible("#detail")
    assert page.is_hidden("#list")
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 360
    ink, paper = page.evaluate(
        "['color', 'backgroundColor'].map((one) => getComputedStyle(document.body)[one])"
    )
    assert _brightness(paper) < 60
    assert _brightness(ink) > 200
    page.click("#back")
    assert page.is_visible("#list")
    context.close()


def _brightness(colour: str) -> float:
    digits = colour[colour.index("(") + 1 : colour.index(")")].split(",")[:3]
    return sum(map(float, digits)) / 3


def test_every_control_has_a_name(page: Any) -> None:
    nameless = page.evaluate(
        "[...document.querySelectorAll('button, input, select, [role]')].filter((one) =>"
        " one.checkVisibility() && !(one.textContent.trim() || one.getAttribute('aria-label')"
        " || one.labels?.length || one.querySelector('img')?.alt)).map((one) => one.outerHTML)"
    )
    assert nameless == []


def test_a_thousand_films_are_a_few_rows(browser: Any, tmp_path: Path) -> None:
    films = tuple(
        Film(
            f"film {number}.mp4",
            duration=60.0,
            images=("/9j/",),
            frames=(Frame(1.0, 0),),
            answers=(Answer("a dog", (Span(1.0, 2.0, number / 1000),)),),
        )
        for number in range(1000)
    )
    path = write_page(tmp_path / "page.html", Page(films=films))
    context = browser.new_context()
    page = context.new_page()
    page.goto(path.as_uri())
    assert page.locator(".row").count() < 40
    page.select_option("#sort", "score")
    assert page.locator(".row .name").first.text_content() == "film 999.mp4"
    page.fill("#search", "film 17")
    assert "1,000 films" in page.text_content("#counts")
    assert page.get_attribute(".row", "aria-setsize") == "20"
    page.fill("#search", "")
    page.locator("#list").evaluate("list => list.scrollTop = list.scrollHeight")
    page.wait_for_selector("text=film 0.mp4")
    context.close()


def test_a_live_page_asks_its_server(browser: Any) -> None:
    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = Page(live=Live("/ask", ("film.mp4",)))
            self._send("text/html", render_page(page))

        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers["Content-Length"]))
            assert asked == b'{"video":"film.mp4","query":"a dog"}'
            answer = (
                b'{"films":[{"name":"film.mp4","source":"","kind":"","carried":"","duration":9,'
                b'"times":[],"images":[],"frames":[],"warnings":[],"error":"","answers":[{"query":'
                b'"a dog","moments":[{"start":1,"end":2,"score":0.5}],"presence":null,"curve":null,'
                b'"words":[],"weights":"","warnings":[],"error":""}]}]}'
            )
            self._send("application/json", answer)

        def _send(self, kind: str, content: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=partial(server.serve_forever, 0.05), daemon=True).start()
        for page in _opened(browser, f"http://127.0.0.1:{server.server_port}/"):
            page.fill("#ask-query", "a dog")
            page.click("#ask button")
            page.wait_for_selector("#verdict:has-text('0:01.0 – 0:02.0')")
            assert page.text_content("#query") == "“a dog”"
        server.shutdown()
