"""How large a report page of many films is, and how fast it is in Chromium.

    python benchmarks/report/page.py --films 100 --films 1000

Each film has 6 seconds, three sentences with up to two moments, and 120 steps of similarity and
alignment. Eight films are made, with pictures that differ from frame to frame; the others are links
to them, so every film can be played. Needs Chromium and the package playwright.
"""

from __future__ import annotations

import argparse
import base64
import os
import random
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np

from vtloc_runtime.report import Answer, Film, Page, Span, write_page
from vtloc_runtime.report.films import film_address
from vtloc_runtime.report.filmstrip import Filmstrip, choose_instants, read_filmstrip

SENTENCES = ("a dog on a beach", "a boat on the water", "a white bird")
DISTINCT = 8
SECONDS = 6.0
STEPS = 120
ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip

# Sets an input to each value in turn; the time until the page is laid out again, milliseconds.
SET = """([id, values]) => values.map((value) => {
  const input = document.getElementById(id);
  input.value = value;
  const begun = performance.now();
  input.dispatchEvent(new Event("input"));
  document.body.offsetHeight;
  return performance.now() - begun;
})"""
SEEK = """() => new Promise((done) => {
  const player = document.getElementById("player"), begun = performance.now();
  player.addEventListener("seeked", () => done(performance.now() - begun), {once: true});
  document.querySelector("#moments .go").click();
  player.pause();
})"""


def write_film(path: Path, seed: int) -> None:
    """A VP9 film of smooth random pictures."""
    noise = np.random.default_rng(seed)
    with av.open(str(path), "w", format="webm") as container:
        stream = container.add_stream("libvpx-vp9", rate=10)
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        stream.options = {"deadline": "realtime", "cpu-used": "8"}
        stream.gop_size = 10
        for _ in range(int(SECONDS * 10)):
            coarse = noise.integers(0, 256, (12, 20, 3), dtype=np.uint8)
            picture = coarse.repeat(15, axis=0).repeat(16, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def make_answer(query: str, chance: random.Random) -> Answer:
    """An answer with up to two moments and full evidence."""
    words = tuple(query.split())
    starts = (1.0, 3.0)[: chance.randint(0, 2)]
    return Answer(
        query,
        tuple(Span(start, start + 1.5, chance.random()) for start in starts),
        presence=chance.uniform(-0.3, 0.6),
        curve=tuple(round(chance.uniform(-0.2, 0.6), 4) for _ in range(STEPS)),
        words=words,
        weights=base64.b64encode(chance.randbytes(len(words) * STEPS)).decode(),
    )


def make_page(folder: Path, count: int, sources: list[Path]) -> Path:
    """A page over so many films."""
    chance = random.Random(1)
    instants = choose_instants(SECONDS, [(1.0, 2.5), (3.0, 4.5)], films=count)
    strips: list[Filmstrip] = [read_filmstrip(source, instants) for source in sources]
    times = tuple(round(step * SECONDS / STEPS, 3) for step in range(STEPS))
    films = []
    for number in range(count):
        path = folder / f"film {number:04d}.webm"
        os.link(sources[number % DISTINCT], path)
        strip = strips[number % DISTINCT]
        film = Film(path.name, kind="video/webm", duration=SECONDS, times=times)
        answers = tuple(make_answer(query, chance) for query in SENTENCES)
        films.append(
            replace(
                film,
                source=film_address(str(path), folder),
                images=strip.images,
                frames=strip.frames,
                answers=answers,
            )
        )
    return write_page(folder / "page.html", Page(films=tuple(films)))


def measure(browser: Any, path: Path) -> dict[str, list[float]]:
    """One visit: seconds until the page shows something, milliseconds for what is done on it."""
    page = browser.new_page(viewport={"width": 1360, "height": 900})
    begun = time.monotonic()
    page.goto(path.as_uri(), wait_until="commit")
    page.wait_for_selector(".row img")
    shown = time.monotonic() - begun
    while not page.evaluate("document.getElementById('player').readyState >= 2"):
        page.wait_for_timeout(5)
    found = {"first picture, s": [shown], "film ready, s": [time.monotonic() - begun]}
    found["seek, ms"] = [page.evaluate(SEEK)]
    found["filter, ms"] = page.evaluate(SET, ["search", ["film 00", "dog", "99 bird", ""]])
    found["sort, ms"] = page.evaluate(SET, ["sort", ["score", "presence", "film", "asked"]])
    found["script memory, MB"] = [page.evaluate("performance.memory.usedJSHeapSize") / 1e6]
    page.close()
    return found


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--films", type=int, action="append")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        sources = [Path(name) / f"{seed}.webm" for seed in range(DISTINCT)]
        for seed, source in enumerate(sources):
            write_film(source, seed)
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=ARGUMENTS
        )
        print(f"Chromium {browser.version}, load {os.getloadavg()[0]:.1f}")
        for count in options.films or [100, 1000]:
            folder = Path(name) / str(count)
            folder.mkdir()
            path = make_page(folder, count, sources)
            print(f"{count} films: {path.stat().st_size / 1e6:.1f} MB")
            visits = [measure(browser, path) for _ in range(options.repeat)]
            for what in visits[0]:
                values = [value for visit in visits for value in visit[what]]
                print(f"  {what}: {min(values):.3g} to {max(values):.3g}")
        browser.close()


if __name__ == "__main__":
    main()
