"""Claim: a sentence is searched for in 1,000 hours of video in less than a second, on two cores.

Fills an index with made-up frames, as many as so many hours have at one a second, and times the
pass that ranks films: the closest frame of every film, and the presence that it amounts to. NumKong
and NumPy multiply in turn, and the processor's own time is counted beside the clock's, because
other programs may share the machine. The table is memory mapped; what the process holds for itself
is printed too, and which share of the best films is the same as by asking every film.

    python -m benchmarks.throughput.search --hours 1 100 1000 --scratch /tmp/search
"""

from __future__ import annotations

import argparse
import re
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from benchmarks.throughput.machine import machine_line
from vtloc_runtime.library import closest
from vtloc_runtime.library.catalogue import Film
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


def memory() -> float:
    """MiB that the process holds for itself, without the files that it has mapped."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"RssAnon:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


@dataclass
class Measured:
    """What one way of multiplying took.

    Attributes:
        one: Seconds for one sentence.
        processor: Seconds of processor time for it, over all cores.
        sixteen: Seconds for sixteen sentences.
        memory: MiB that the process held more at the end.
        best: The best films of each sentence.
    """

    one: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    sixteen: list[float] = field(default_factory=list)
    memory: float = 0.0
    best: np.ndarray = field(default_factory=lambda: np.empty(0))


def measure(
    snapshot: Snapshot, check: PresenceCheck, sentences: np.ndarray, *, repeats: int
) -> dict[str, Measured]:
    """Search with NumKong and with NumPy in turn."""
    measured = {"NumKong": Measured(), "NumPy": Measured()}
    before = memory()
    for _ in range(repeats):
        for name, found in measured.items():
            closest.find_spec = find_spec if name == "NumKong" else lambda _name: None
            began, processor = time.perf_counter(), time.process_time()
            search(snapshot, check, sentences[:1])
            found.one.append(time.perf_counter() - began)
            found.processor.append(time.process_time() - processor)
            began = time.perf_counter()
            found.best = search(snapshot, check, sentences)
            found.sixteen.append(time.perf_counter() - began)
            found.memory = memory() - before
    return measured


def spread(seconds: list[float]) -> str:
    """The median, and the range in brackets."""
    return f"{statistics.median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f})"


def search(snapshot: Snapshot, check: PresenceCheck, sentences: np.ndarray) -> np.ndarray:
    """The best films of each sentence, as a search ranks them."""
    films = snapshot.catalogue.films
    ranges = [film.rows for film in films if film.rows is not None]
    looks = [film.looks for film in films]
    cosines = closest.closest_cosines(snapshot.table, ranges, sentences)
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
        "| hours | frames | file, MiB | multiplied by | one sentence, s | its processor s | "
        "sixteen, s | own memory, MiB | recall |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for hours in chosen.hours:
        with tempfile.TemporaryDirectory(dir=chosen.scratch) as folder:
            index = LibraryIndex(Path(folder) / "index", "made up", chosen.width)
            snapshot = fill(index, hours=hours, width=chosen.width)
            sentences = chance.normal(size=(16, chosen.width)).astype(np.float32)
            measured = measure(snapshot, check, sentences, repeats=chosen.repeats)
            asked = 1 if hours > 100 else 4
            right = [set(exact(snapshot, check, sentences[row])) for row in range(asked)]
            for name, found in measured.items():
                shared = sum(len(right[row] & set(found.best[row])) for row in range(asked))
                print(
                    f"| {hours:,} | {len(snapshot.table):,} | {snapshot.table.nbytes / 2**20:,.0f} "
                    f"| {name} | {spread(found.one)} | {spread(found.processor)} | "
                    f"{spread(found.sixteen)} | {found.memory:.0f} more | "
                    f"{shared / sum(map(len, right)):.3f} |",
                    flush=True,
                )
    print(f"\n{machine_line('numpy', 'numkong')}")


if __name__ == "__main__":
    main()
