"""Claim: two processors search one long film nearly twice as fast as one, a quick search faster.

Each search is a ``vtloc-run`` of its own, from a cold start and without a cache, with all its
processes on as many processors as the row says. The ways take turns; figures are medians. The
processor time is that of all processes together.

    python -m benchmarks.throughput.one_film moving-1080p moving-720p --minutes 60 --folder films
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

from benchmarks.throughput.films import KINDS, QUERIES, write_film
from benchmarks.throughput.machine import machine_line

FILMS = ("moving-1080p", "moving-720p")
PROGRAM = (sys.executable, "-c", "from vtloc_runtime.cli.main import main; main()")


@dataclass(frozen=True, slots=True)
class Search:
    """What one run of ``vtloc-run`` took and found.

    Attributes:
        seconds: By the clock, from its start to its end.
        processor: Processor time of all its processes, seconds.
        moments: What it found.
    """

    seconds: float
    processor: float
    moments: object


def search(film: Path, query: str, words: list[str], processors: set[int]) -> Search:
    """Ask one sentence about one film on some of the processors."""
    command = [*PROGRAM, str(film), "--query", query, "--json", "--no-cache", *words]
    everywhere = os.sched_getaffinity(0)
    used, began = getrusage(RUSAGE_CHILDREN), time.perf_counter()
    # Processes begin on the processors of the one that starts them.
    os.sched_setaffinity(0, processors)
    try:
        found = subprocess.run(command, check=True, capture_output=True)
    finally:
        os.sched_setaffinity(0, everywhere)
    seconds, now = time.perf_counter() - began, getrusage(RUSAGE_CHILDREN)
    processor = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    return Search(seconds, processor, json.loads(found.stdout)["moments"])


def main() -> None:
    """Measure, print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("films", nargs="*", default=FILMS, help="KIND-LINESp: " + ", ".join(KINDS))
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--bundle", type=Path, help="a bundle; without it the one that ships")
    parser.add_argument("--folder", type=Path, help="keeps the films for the next time")
    options = parser.parse_args()
    print(
        "| film | search | processors | seconds | processor s | s of video a second "
        "| times as fast as one | same moments |"
    )
    print("|---|---|--:|--:|--:|--:|--:|---|", flush=True)
    bundle = [] if options.bundle is None else ["--bundle", str(options.bundle)]
    with tempfile.TemporaryDirectory() as name:
        folder = options.folder or Path(name)
        for title in options.films:
            kind, _, lines = title.partition("-")
            path = folder / f"{title}-{options.minutes:g}.mp4"
            write_film(path, kind, lines=int(lines.removesuffix("p")), seconds=60 * options.minutes)
            measure(f"{title}, {options.minutes:g} min", path, options, bundle)
    print(f"\nMedians of {options.rounds} rounds. {machine_line('onnxruntime')}")


def measure(title: str, film: Path, options: argparse.Namespace, bundle: list[str]) -> None:
    """Print a line for each way to search a film."""
    usable = sorted(os.sched_getaffinity(0))
    counts = dict.fromkeys((1, len(usable)))
    ways = [(quick, count) for quick in (False, True) for count in counts]
    found: dict[tuple[bool, int], list[Search]] = {way: [] for way in ways}
    for number in range(options.rounds):
        for quick, count in ways:
            words = [*bundle, *(["--quick"] if quick else [])]
            query = QUERIES[number % len(QUERIES)]
            found[quick, count].append(search(film, query, words, set(usable[:count])))
    exact = [one.moments for one in found[False, 1]]
    for (quick, count), searches in found.items():
        seconds, alone = (
            statistics.median(one.seconds for one in part) for part in (searches, found[quick, 1])
        )
        processor = statistics.median(one.processor for one in searches)
        same = sum(one.moments == moments for one, moments in zip(searches, exact, strict=True))
        print(
            f"| {title} | {'quick' if quick else 'exact'} | {count} | {seconds:.1f} "
            f"| {processor:.1f} | {60 * options.minutes / seconds:.1f} | {alone / seconds:.2f} "
            f"| {same} of {len(searches)} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
