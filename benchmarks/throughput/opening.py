"""Claim: an answer about a cached film waits for the networks that it needs, and for little else.

Each start is a process of its own: opening the default bundle in Python, and asking a cached film
by ``vtloc-run``, into a pipe and on a terminal. The ways take turns, and so does another checkout
of vtloc where one is named. Differences are of pairs, with 95 % intervals.

    python -m benchmarks.throughput.opening --rounds 20 --before ../earlier
"""

from __future__ import annotations

import argparse
import os
import pty
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

from benchmarks.throughput.films import QUERIES, write_film
from benchmarks.throughput.machine import machine_line

HERE = Path(__file__).parents[2]
OPENING = "from vtloc_runtime import Localizer\nLocalizer.open().close()"
ASKING = "from vtloc_runtime.cli.main import main\nmain()"
WAYS = ("opened in Python", "asked into a pipe", "asked on a terminal")


@dataclass(frozen=True, slots=True)
class Start:
    """What one process took.

    Attributes:
        seconds: By the clock.
        processor: Processor time of the process and those that it started, seconds.
    """

    seconds: float
    processor: float


def start(way: str, film: Path, environment: Mapping[str, str]) -> Start:
    """Run one process to its end."""
    words = [] if way == WAYS[0] else [str(film), "-q", QUERIES[0]]
    command = [sys.executable, "-c", ASKING if words else OPENING, *words]
    used, began = getrusage(RUSAGE_CHILDREN), time.perf_counter()
    if way == WAYS[2]:
        run_on_terminal(command, environment)
    else:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    seconds, now = time.perf_counter() - began, getrusage(RUSAGE_CHILDREN)
    return Start(seconds, now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime)


def run_on_terminal(command: list[str], environment: Mapping[str, str]) -> None:
    """Run a program that believes that people watch."""
    ours, its = pty.openpty()

    def watch() -> None:
        # Reading fails once nobody has the other end.
        with suppress(OSError):
            while os.read(ours, 65536):
                pass

    watcher = threading.Thread(target=watch)
    process = subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env=environment)
    os.close(its)
    watcher.start()
    code = process.wait()
    watcher.join()
    os.close(ours)
    if code:
        raise SystemExit(f"vtloc-run ended with {code}")


def main() -> None:
    """Measure, print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--before", type=Path, help="another checkout, measured in turns")
    options = parser.parse_args()
    versions = {"now": HERE} | ({} if options.before is None else {"before": options.before})
    found: dict[tuple[str, str], list[Start]] = {
        (way, version): [] for way in WAYS for version in versions
    }
    with tempfile.TemporaryDirectory() as name:
        film = Path(name) / "film.mp4"
        write_film(film, "moving", lines=360, seconds=60)
        environments = {
            version: {
                **os.environ,
                "PYTHONPATH": str(folder.resolve() / "runtime"),
                "VTLOC_CACHE": str(Path(name) / version),
                "OPENBLAS_NUM_THREADS": "1",
            }
            for version, folder in versions.items()
        }
        # The first round fills the caches, and is not counted.
        for number in range(options.rounds + 1):
            order = [*found][:: 1 if number % 2 else -1]
            for way, version in order:
                took = start(way, film, environments[version])
                if number:
                    found[way, version].append(took)
    print_table(found, options.rounds)


def print_table(found: Mapping[tuple[str, str], list[Start]], rounds: int) -> None:
    """Medians and the least of each, and what the version before took more."""
    print("| way | version | clock, s | least | processor, s | least | more than now |")
    print("|---|---|--:|--:|--:|--:|--:|")
    for (way, version), starts in found.items():
        seconds, processor = (
            [getattr(one, name) for one in starts] for name in ("seconds", "processor")
        )
        more = ""
        if version != "now" and rounds > 1:
            pairs = zip(processor, found[way, "now"], strict=True)
            gaps = [mine - one.processor for mine, one in pairs]
            error = 1.96 * statistics.stdev(gaps) / rounds**0.5
            more = f"{statistics.mean(gaps):.3f} ± {error:.3f}"
        print(
            f"| {way} | {version} | {statistics.median(seconds):.2f} | {min(seconds):.2f} "
            f"| {statistics.median(processor):.2f} | {min(processor):.2f} | {more} |"
        )
    print(f"\n{rounds} rounds. {machine_line('numpy', 'onnxruntime', 'typer')}")


if __name__ == "__main__":
    main()
