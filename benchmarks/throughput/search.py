"""Claim: a sentence is searched for in 1,000 hours of video in less than a second, on two cores.

Fills an index with made-up frames, as many as so many hours have at one a second, and times the
pass that ranks films: the closest frame of every film, and the presence that it amounts to. NumKong
and NumPy multiply in turn, and the processor's own time is counted beside the clock's, because
other programs may share the machine. The table is memory mapped; what the process holds for itself
is printed too, and which share of the best films is the same as by asking every film.

    python -m benchmarks.throughput.search --hours 1 100 1000 --scratch DIR
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
from typing import TYPE_CHECKING
from unittest import mock

import numpy as np

from benchmarks.throughput.machine import machine_line
from vtloc_runtime.library import closest
from vtloc_runtime.library.catalogue import Film
from vtloc_runtime.library.feature_table import SCALE, pack
from vtloc_runtime.library.index import Addition, LibraryIndex, Snapshot
from vtloc_runtime.library.ranking import bank_bounds
from vtloc_runtime.localize.presence.bank_presence import margins

if TYPE_CHECKING:
    from numpy.typing import NDArray

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
        film = Film(
            name=f"/{number}",
            key=str(number),
            middle=float(chance.uniform(-0.2, 0)),
            above=float(chance.uniform(0.05, 0.15)),
            below=float(chance.uniform(0.05, 0.15)),
        )
        pending.append(Addition(film, pack(rows, chance.uniform(0.2, 0.4, size=len(rows)))))
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
        sixteen: Seconds of processor time for sixteen sentences.
        memory: MiB that the process held more at the end.
        bounds: What the index says about every film.
    """

    one: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    sixteen: float = 0.0
    memory: float = 0.0
    bounds: list[NDArray[np.float64]] = field(default_factory=list)


def measure(
    snapshot: Snapshot, sentences: NDArray[np.float32], *, repeats: int
) -> dict[str, Measured]:
    """Search with NumKong and with NumPy in turn."""
    measured = {"NumKong": Measured(), "NumPy": Measured()}
    before = memory()
    for repeat in range(repeats):
        for name, found in measured.items():
            choose = find_spec if name == "NumKong" else lambda _name: None
            with mock.patch.object(closest, "find_spec", choose):
                began, processor = time.perf_counter(), time.process_time()
                found.bounds = bounds_of(snapshot, sentences[:1])
                found.one.append(time.perf_counter() - began)
                found.processor.append(time.process_time() - processor)
                if not repeat:
                    processor = time.process_time()
                    bounds_of(snapshot, sentences)
                    found.sixteen = time.process_time() - processor
            found.memory = memory() - before
    return measured


def spread(seconds: list[float]) -> str:
    """The median, and the range in brackets."""
    return f"{statistics.median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f})"


def bounds_of(snapshot: Snapshot, sentences: NDArray[np.float32]) -> list[NDArray[np.float64]]:
    """What the index says about every film, for each sentence."""
    films = snapshot.catalogue.films
    ranges = [film.rows for film in films if film.rows is not None]
    scale = (
        [film.middle for film in films],
        [film.above for film in films],
        [film.below for film in films],
    )
    vectors = np.column_stack([sentences, np.full(len(sentences), -1.0)])
    reached = closest.closest_cosines(snapshot.table, ranges, vectors)
    return [
        bank_bounds(row * np.linalg.norm(vector), *scale)
        for vector, row in zip(vectors, reached, strict=True)
    ]


def presence(snapshot: Snapshot, sentence: NDArray[np.float32], number: int) -> float:
    """What asking one film gives."""
    film = snapshot.catalogue.films[number]
    if film.rows is None:
        return -np.inf
    part = snapshot.table[film.rows.first : film.rows.first + film.rows.count]
    rows, nearest = part[:, :-1].astype(np.float64), part[:, -1].astype(np.float64) / SCALE
    curve = rows @ sentence / np.linalg.norm(rows, axis=1)
    return float(margins((curve - nearest).max(), film.middle, film.above, film.below))


def best_films(
    snapshot: Snapshot,
    sentence: NDArray[np.float32],
    bounds: NDArray[np.float64],
) -> tuple[set[int], int]:
    """The best films as a search finds them, and how many films it asks."""
    found: list[tuple[float, int]] = []
    for number in np.argsort(-bounds, kind="stable"):
        if len(found) >= TOP and bounds[number] < sorted(found)[-TOP][0]:
            break
        found.append((presence(snapshot, sentence, int(number)), int(number)))
    return {number for _, number in sorted(found)[-TOP:]}, len(found)


def every_film(snapshot: Snapshot, sentence: NDArray[np.float32]) -> set[int]:
    """The best films by asking every one of them."""
    count = len(snapshot.catalogue.films)
    found = [(presence(snapshot, sentence, number), number) for number in range(count)]
    return {number for _, number in sorted(found)[-TOP:]}


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=int, nargs="+", default=[1, 100, 1000])
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--scratch", type=Path)
    chosen = parser.parse_args()
    chance = np.random.default_rng(1)
    print(
        "| hours | frames | file, MiB | multiplied by | one sentence, s | its processor s | "
        "for sixteen | more memory, MiB | films asked | recall |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for hours in chosen.hours:
        if chosen.scratch is not None:
            chosen.scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=chosen.scratch) as folder:
            index = LibraryIndex(Path(folder) / "index", "made up", chosen.width + 1)
            snapshot = fill(index, hours=hours, width=chosen.width)
            sentences = chance.normal(size=(16, chosen.width)).astype(np.float32)
            sentences /= np.linalg.norm(sentences, axis=1, keepdims=True)
            measured = measure(snapshot, sentences, repeats=chosen.repeats)
            right = every_film(snapshot, sentences[0])
            for name, found in measured.items():
                best, asked = best_films(snapshot, sentences[0], found.bounds[0])
                print(
                    f"| {hours:,} | {len(snapshot.table):,} | {snapshot.table.nbytes / 2**20:,.0f} "
                    f"| {name} | {spread(found.one)} | {spread(found.processor)} | "
                    f"{found.sixteen:.2f} | {found.memory:.0f} | {asked} of "
                    f"{len(snapshot.films):,} | {len(best & right) / len(right):.2f} |",
                    flush=True,
                )
    print(f"\n{machine_line('numpy', 'numkong')}")


if __name__ == "__main__":
    main()
