"""Claim: a sentence is searched for in 1,000 hours of video in less than a second, on two cores.

Fills an index with made-up frames, as many as so many hours have at one a second, and times the
pass that ranks films: the closest frame of every film, and the presence that it amounts to. The
table is memory mapped; what the process holds for itself is printed beside it. Then, on features
that fall into films as real ones do, the ranking is compared with that of exact features.

    python -m benchmarks.throughput.search --hours 1 100 1000 --scratch /tmp/search
"""

from __future__ import annotations

import argparse
import re
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.throughput.machine import machine_line
from vtloc_runtime.library.catalogue import Film
from vtloc_runtime.library.closest import closest_cosines
from vtloc_runtime.library.feature_table import SCALE
from vtloc_runtime.library.index import Addition, LibraryIndex, Snapshot
from vtloc_runtime.library.ranking import presence_bounds
from vtloc_runtime.localize.absence import PresenceCheck, ReferenceFrames

MINUTES = 10
TOP = 20


def fill(index: LibraryIndex, *, hours: int, width: int) -> Snapshot:
    """An index over films of ten minutes, one frame a second."""
    chance = np.random.default_rng(0)
    noise = chance.standard_normal((MINUTES * 60, width), dtype=np.float32)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    films = hours * 60 // MINUTES
    pending: list[Addition] = []
    snapshot = index.read()
    for number in range(films):
        topic = chance.standard_normal(width, dtype=np.float32)
        rows = noise[chance.permutation(len(noise))] + topic / np.linalg.norm(topic)
        rows *= np.float32(SCALE) / np.linalg.norm(rows, axis=1, keepdims=True)
        film = Film(name=f"/{number}", key=str(number), looks=float(chance.integers(20, 600)))
        pending.append(Addition(film, rows.astype(np.float16)))
        if len(pending) == 100 or number == films - 1:
            snapshot = index.commit(pending)
            pending = []
    return snapshot


def memory() -> tuple[float, float]:
    """MiB that the process holds for itself, and MiB of files that it has mapped and touched."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    own, mapped = (re.search(rf"{name}:\s+(\d+) kB", status) for name in ("RssAnon", "RssFile"))
    return (int(own[1]) / 1024 if own else 0.0), (int(mapped[1]) / 1024 if mapped else 0.0)


def search(snapshot: Snapshot, check: PresenceCheck, sentences: np.ndarray) -> np.ndarray:
    """The best films of each sentence, as a search ranks them."""
    films = snapshot.catalogue.films
    ranges = [film.rows for film in films if film.rows is not None]
    looks = [film.looks for film in films]
    cosines = closest_cosines(snapshot.table, ranges, sentences)
    return np.array(
        [
            np.argsort(-presence_bounds(check, sentence, row, looks), kind="stable")[:TOP]
            for sentence, row in zip(sentences, cosines, strict=True)
        ]
    )


def exact(snapshot: Snapshot, check: PresenceCheck, sentence: np.ndarray) -> np.ndarray:
    """The best films by asking every one of them."""
    found = []
    for film in snapshot.catalogue.films:
        if film.rows is not None:
            part = snapshot.table[film.rows.first : film.rows.first + film.rows.count]
            rows = part.astype(np.float64)
            curve = rows @ sentence / np.linalg.norm(rows, axis=1) / np.linalg.norm(sentence)
            found.append(check.margin(curve, sentence, film.looks))
    return np.argsort(-np.array(found), kind="stable")[:TOP]


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=int, nargs="+", default=[1, 100, 1000])
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--scratch", type=Path)
    chosen = parser.parse_args()
    chance = np.random.default_rng(1)
    reference = ReferenceFrames.of(chance.normal(size=(500, chosen.width)))
    check = PresenceCheck(reference, 0.5, 0.0)
    print(
        "| hours | frames | file, MiB | one sentence, s | sixteen, s | own memory, MiB | recall |"
    )
    print("|---|---|---|---|---|---|---|")
    for hours in chosen.hours:
        with tempfile.TemporaryDirectory(dir=chosen.scratch) as folder:
            index = LibraryIndex(Path(folder) / "index", "made up", chosen.width)
            snapshot = fill(index, hours=hours, width=chosen.width)
            sentences = chance.normal(size=(16, chosen.width)).astype(np.float32)
            before = memory()[0]
            times: dict[int, list[float]] = {1: [], 16: []}
            for _ in range(chosen.repeats):
                for count, seconds in times.items():
                    began = time.perf_counter()
                    found = search(snapshot, check, sentences[:count])
                    seconds.append(time.perf_counter() - began)
            own, mapped = memory()
            asked = 1 if hours > 100 else 4
            shared = [
                len(set(found[row]) & set(exact(snapshot, check, sentences[row])))
                for row in range(asked)
            ]
            most = asked * min(TOP, len(snapshot.films))
            cells = [
                f"{statistics.median(one):.2f} ({min(one):.2f} to {max(one):.2f})"
                for one in times.values()
            ]
            size = snapshot.table.nbytes / 2**20
            print(
                f"| {hours:,} | {len(snapshot.table):,} | {size:,.0f} | {cells[0]} | {cells[1]} | "
                f"{own - before:.0f} more ({mapped:,.0f} mapped) | {sum(shared) / most:.3f} |",
                flush=True,
            )
    print(f"\n{machine_line('numpy')}")


if __name__ == "__main__":
    main()
