"""Claim: two hours of video take hardly more memory than two minutes, and no more time a frame.

``vtloc-run`` answers a question about films of growing length, one video and one worker at a time,
encoding every frame; then again out of the cache. Memory is what each process had in use at its
peak, as the kernel counts it: the program with its networks, and the decoder beside it.

    python -m benchmarks.throughput.memory --minutes 2 30 120
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.throughput.films import write_film
from benchmarks.throughput.machine import machine_line

PROGRAM = [sys.executable, "-c", "from vtloc_runtime.cli.main import main; main()"]
LINES = 144


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the program.

    Attributes:
        seconds: How long it took.
        program: Bytes that the program had in use at its peak.
        decoder: Bytes that its decoder had in use at its peak.
        timings: Seconds by stage, as its record says.
    """

    seconds: float
    program: int
    decoder: int
    timings: dict[str, float]


def run(film: Path, cache: Path, bundle: Path | None) -> Run:
    """Answer a question about a film, and watch the memory meanwhile."""
    extra = ["--bundle", str(bundle)] if bundle else []
    began = time.perf_counter()
    process = subprocess.Popen(
        [*PROGRAM, str(film), "-q", "a cat", "--json", "--quiet", "--exact", "-k", "5", *extra],
        stdout=subprocess.PIPE,
        env={**os.environ, "VTLOC_CACHE": str(cache)},
    )
    peaks: dict[int, int] = {}
    while process.poll() is None:
        for pid in (process.pid, *_children(process.pid)):
            # The latest one: until a child has become its own program it shows its parent's.
            peaks[pid] = _peak(pid) or peaks.get(pid, 0)
        time.sleep(0.02)
    seconds = time.perf_counter() - began
    output = process.communicate()[0]
    if process.returncode:
        raise SystemExit(f"the run over {film} failed")
    program = peaks.pop(process.pid)
    timings = json.loads(output.splitlines()[0])["timings"]
    return Run(seconds, program, max(peaks.values(), default=0), timings)


def _children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
        tasks = [path / "children" for path in Path(f"/proc/{pid}/task").iterdir()]
        text = " ".join(path.read_text(encoding="ascii") for path in tasks)
    except OSError:
        return []
    return [int(child) for child in text.split()]


def _peak(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        return 1024 * int(status.split("VmHWM:")[1].split()[0])
    except (OSError, IndexError):
        # It has ended, or is about to become another program.
        return 0


def main() -> None:
    """Measure, print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, nargs="+", default=[2, 120])
    parser.add_argument("--bundle", type=Path, help="a bundle; without it the one that ships")
    options = parser.parse_args()
    print(
        "| film | program, MB | decoder, MB | both | to the first | ms a frame | of these decoding "
        "| encoding | localizing, s | from the cache: program, MB | to the first | s |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|", flush=True)
    first: tuple[int, int] | None = None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for minutes in options.minutes:
            film = write_film(
                folder / f"{minutes:g}.mp4", "moving", lines=LINES, seconds=60 * minutes
            )
            frames = 60 * minutes
            fresh = run(film, folder / "cache", options.bundle)
            again = run(film, folder / "cache", options.bundle)
            both = fresh.program + fresh.decoder
            first = first or (both, again.program)
            work = {stage: fresh.timings[stage] for stage in ("decode", "encode", "localize")}
            print(
                f"| {minutes:g} min | {fresh.program / 1e6:.0f} | {fresh.decoder / 1e6:.0f} "
                f"| {both / 1e6:.0f} | {both / first[0]:.2f} "
                f"| {1000 * (work['decode'] + work['encode']) / frames:.1f} "
                f"| {1000 * work['decode'] / frames:.1f} | {1000 * work['encode'] / frames:.1f} "
                f"| {work['localize']:.2f} | {again.program / 1e6:.0f} "
                f"| {again.program / first[1]:.2f} | {again.seconds:.1f} |",
                flush=True,
            )
    print(f"\nFilms of {LINES} lines. {machine_line('onnxruntime')}")


if __name__ == "__main__":
    main()
