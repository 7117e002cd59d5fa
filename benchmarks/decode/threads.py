"""What decoding ahead saves: wall seconds a minute of video with no, one and two workers.

Each file is read twice: by a caller that throws the frames away, and by one that works 20 ms on
each, as an encoder would (hashing stands in for it; like a network, it lets other threads run).
Files are those of ``decode.py``; the rounds are interleaved.

    python -m benchmarks.decode.threads --seconds 60 --rounds 3 --files h264-1080p-gop250
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.decode.decode import measure, versions, video_minutes
from benchmarks.decode.films import RECIPES, paths
from vtloc_runtime.video import VideoOptions, open_video

WORKERS = (0, 1, 2)
ENCODING_SECONDS = 0.020


def encoder() -> Callable[[], object]:
    """Something that takes 20 ms of one processor, and leaves the others to other threads."""
    block = np.zeros(2**22, np.uint8)
    begun = time.perf_counter()
    for _ in range(8):
        hashlib.sha256(block.data).digest()
    size = int(len(block) * ENCODING_SECONDS * 8 / (time.perf_counter() - begun))
    data = np.zeros(size, np.uint8)
    return lambda: hashlib.sha256(data.data).digest()


def read(path: Path, workers: int, encode: Callable[[], object] | None) -> int:
    """Read all frames, and do to each what is asked."""
    count = 0
    with open_video(path, VideoOptions(workers=workers)) as reader:
        for _ in reader:
            count += 1
            if encode:
                encode()
    return count


def benchmark(path: Path, rounds: int) -> str:
    """A row: medians of wall seconds, then CPU seconds, a minute of video."""
    encode = encoder()
    minutes = video_minutes(path)
    runs = [(workers, work) for work in (None, encode) for workers in WORKERS]
    taken: dict[tuple[int, bool], list[tuple[float, float, int]]] = {}
    for _ in range(rounds):
        for workers, work in runs:
            result = measure(partial(read, path, workers, work))
            taken.setdefault((workers, work is not None), []).append(result)
    cells = [
        f"{statistics.median(one[column] for one in results) / minutes:.2f}"
        for column in (1, 0)
        for results in taken.values()
    ]
    return f"| {path.stem} | " + " | ".join(cells) + " |"


def main() -> None:
    """Measure, print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=60, help="length of the files made")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds")
    parser.add_argument("--files", nargs="+", default=[*RECIPES])
    parser.add_argument("--folder", type=Path, help="keep the files made here")
    options = parser.parse_args()
    names = [
        f"{clock}{work}, {workers} workers"
        for clock in ("wall", "CPU")
        for work in ("", " encoding")
        for workers in WORKERS
    ]
    print(f"Seconds a minute of video, median of {options.rounds} rounds; {versions()}\n")
    print("| file | " + " | ".join(names) + " |")
    print("|" + "---|" * (len(names) + 1))
    with tempfile.TemporaryDirectory() as scratch:
        for path in paths(options.files, options.folder or Path(scratch), options.seconds):
            print(benchmark(path, options.rounds), flush=True)


if __name__ == "__main__":
    main()
