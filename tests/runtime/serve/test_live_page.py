"""The live page in a real browser: choose a film or send one, type, see, play."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI

from tests.runtime.serve.conftest import Start
from tests.support.browser import running_browser, write_webm

pytestmark = pytest.mark.xdist_group("browser")


@contextmanager
def running(app: FastAPI, **options: Any) -> Iterator[str]:
    """The address of an application while it runs; ``options`` are those of uvicorn."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, **options))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.05)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def wait_until(page: Any, expression: str) -> None:
    """Wait until JavaScript is true. Playwright's own waiting evaluates in the page, whose policy
    forbids that."""
    until = time.monotonic() + 60
    while not page.evaluate(expression):
        assert time.monotonic() < until, expression
        page.wait_for_timeout(50)


def ask(page: Any, sentence: str) -> None:
    page.fill("#ask-query", sentence)
    page.click("#ask button")
    wait_until(page, f"document.querySelector('#query').textContent.includes('{sentence}')")


def test_a_person_chooses_or_sends_a_film_and_sees_the_moment(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    write_webm(folder / "a & b <i>.webm", [("red", 4), ("green", 3)])
    sent = write_webm(tmp_path / "mine.webm", [("blue", 3), ("yellow", 4)])
    with running(start(folder)) as address, running_browser() as browser:
        page = browser.new_page()
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(address)
        assert page.locator("#ask-film option").all_inner_texts() == ["films/a & b <i>.webm"]
        ask(page, "green")
        assert "films/a & b <i>.webm" in page.inner_text("#film-name")
        assert page.locator("#moments > li").count() >= 1
        # The film plays, and a moment leads into it.
        wait_until(page, "document.querySelector('#player').readyState >= 1")
        page.locator("#moments > li button, #moments > li a, #moments > li").first.click()
        wait_until(page, "document.querySelector('#player').currentTime >= 3.8")
        page.set_input_files("#ask-file", str(sent))
        ask(page, "yellow")
        assert "uploads/" in page.inner_text("#film-name")
        page.set_input_files("#ask-file", [])
        page.fill("#ask-query", "  ")
        page.click("#ask button")
        wait_until(page, "document.querySelector('#ask-state').textContent.length > 12")
        assert not [
            text
            for text in said
            if "Content Security Policy" in text or ("rror" in text and "422" not in text)
        ]
