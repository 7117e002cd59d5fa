"""Claim: decoding and encoding overlap; together they take hardly longer than the longer of them.

One worker is a decoder process and a thread that encodes. Its limits are taken on the same film:
decoding alone, in the same process with nobody encoding, and encoding alone, the same frames from
memory. With a worker a processor, both kinds of work want the same processors, so that there the
limit is the time that both take together.

    python -m benchmarks.throughput.overlap moving-720p --minutes 3 --rounds 3
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.throughput.films import KINDS, write_film
from benchmarks.throughput.machine import machine_line
from vtloc_runtime import Localizer
from vtloc_runtime.batch.answer import run_jobs
from vtloc_runtime.batch.job_lists.jobs import Job, VideoJobs
from vtloc_runtime.batch.workers.worker_pool import PipelineOptions
from vtloc_runtime.system.processors import available_processors
from vtloc_runtime.video.isolation.chunks import FrameChunk
from vtloc_runtime.video.isolation.decoder_process import DecoderProcess

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FILMS = ("moving-1080p", "moving-720p", "moving-360p")


def read(film: Path, localizer: Localizer) -> list[NDArray[np.uint8]]:
    """Every chunk of frames, from a decoder process that starts for it."""
    with DecoderProcess() as decoder:
        parts = decoder.read(str(film), localizer.encoder.options(), localizer.encoder.batch)
        return [part.images for part in parts if isinstance(part, FrameChunk)]


def encode(chunks: list[NDArray[np.uint8]], localizer: Localizer) -> None:
    """The same frames through the visual network alone."""
    for chunk in chunks:
        localizer.encoder.run(chunk)


def answer(film: Path, localizer: Localizer, workers: int) -> None:
    """The whole, as ``vtloc-run`` does it, with as many copies of the film as workers."""
    jobs = [
        VideoJobs(str(film), (Job(f"{number}", str(film), "a cat"),)) for number in range(workers)
    ]
    for records in run_jobs(localizer, jobs, options=PipelineOptions(workers=workers)):
        if records[0].failed:
            raise SystemExit(str(records[0].error))


def at_once(work: Callable[[], object], workers: int) -> float:
    """Seconds that it takes to do something so many times at once."""
    began = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        for done in [pool.submit(work) for _ in range(workers)]:
            done.result()
    return time.perf_counter() - began


def main() -> None:
    """Measure, print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("films", nargs="*", default=FILMS, help="KIND-LINESp: " + ", ".join(KINDS))
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--bundle", type=Path, help="a bundle; without it the one that ships")
    parser.add_argument("--folder", type=Path, help="keeps the films for the next time")
    options = parser.parse_args()
    print(
        "| film | workers | decoding alone, s | encoding alone | together | of the larger "
        "| of both |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|", flush=True)
    with (
        tempfile.TemporaryDirectory() as name,
        Localizer.open(options.bundle, threads=1, reuse=0) as localizer,
    ):
        folder = options.folder or Path(name)
        for title in options.films:
            kind, _, lines = title.partition("-")
            path = folder / f"{title}-{options.minutes:g}.mp4"
            write_film(path, kind, lines=int(lines.removesuffix("p")), seconds=60 * options.minutes)
            measure(title, path, localizer, options.rounds)
    print(f"\n{options.minutes:g} minutes each. {machine_line('onnxruntime')}")


def measure(title: str, film: Path, localizer: Localizer, rounds: int) -> None:
    """Print a line for one worker, and one for a worker a processor."""
    chunks = read(film, localizer)
    encode(chunks, localizer)
    for workers in dict.fromkeys((1, available_processors())):
        found: dict[str, list[float]] = {"decode": [], "encode": [], "whole": []}
        for _ in range(rounds):
            found["decode"].append(at_once(lambda: read(film, localizer), workers))
            found["encode"].append(at_once(lambda: encode(chunks, localizer), workers))
            began = time.perf_counter()
            answer(film, localizer, workers)
            found["whole"].append(time.perf_counter() - began)
        decode, encoding, whole = (statistics.median(times) for times in found.values())
        print(
            f"| {title} | {workers} | {decode:.2f} | {encoding:.2f} | {whole:.2f} "
            f"| {whole / max(decode, encoding):.2f} | {whole / (decode + encoding):.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
