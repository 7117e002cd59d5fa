"""What reading a video costs: CPU seconds a minute of video, for this reader and for others.

Every method samples the same files at one frame a second and shrinks to 224 pixels, on one thread,
and the rounds are interleaved, so that a busy machine disturbs all of them alike. The limit is
what libavcodec alone takes for the packets that the samples need: no demuxing, no scaling. The
second limit opens and reads the file as well, and shrinks the wanted pictures with this reader's
scaler: what lies above it is planning, and nothing else.

    python -m benchmarks.decode.decode --seconds 30 --rounds 3
    VTLOC_TEST_MEDIA=... python -m benchmarks.decode.decode --files h264-720p-gop250 media

Needs PyAV with x264, x265, libvpx and SVT-AV1 to make the files. torchcodec, decord, OpenCV and
the ffmpeg program are compared with where they are installed.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.decode.films import RECIPES, paths
from benchmarks.decode.limit import Script, limit_of, read_by_script
from benchmarks.decode.methods import METHODS, available
from vtloc_runtime.video import VideoOptions, open_video

RATIOS = ("speed-up", "limit's", "over limit", "over second limit")


def cpu_seconds() -> float:
    """CPU seconds of this process and the programs it has waited for."""
    own, children = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def measure(run: Callable[[], int]) -> tuple[float, float, int]:
    """CPU seconds, wall seconds and samples of one run."""
    cpu, wall = cpu_seconds(), time.perf_counter()
    samples = run()
    return cpu_seconds() - cpu, time.perf_counter() - wall, samples


def video_minutes(path: Path) -> float:
    """Length of the pictures, minutes."""
    with open_video(path, VideoOptions(instants=(0.0,))) as reader:
        list(reader)
    return reader.duration / 60


def benchmark(path: Path, names: list[str], rounds: int) -> dict[str, dict[str, float]]:
    """The median of each method over interleaved rounds, CPU seconds a minute of video."""
    minutes = video_minutes(path)
    script = Script.read(path)
    runs: dict[str, Callable[[], int]] = {
        "limit": limit_of(path, script),
        "limit, read and shrunk": lambda: read_by_script(path, script),
    }
    for name in names:
        runs[name] = partial(METHODS[name][0], path)
    taken: dict[str, list[tuple[float, float, int]]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name in list(runs):
            try:
                taken[name].append(measure(runs[name]))
            except Exception as error:  # noqa: BLE001 - another tool's failure is a result
                what = str(error).strip().partition("\n")[0]
                print(f"  {name} failed on {path.name}: {type(error).__name__}: {what}")
                del runs[name]
    return {
        name: {
            "cpu_seconds_a_minute": statistics.median(one[0] for one in results) / minutes,
            "wall_seconds_a_minute": statistics.median(one[1] for one in results) / minutes,
            "samples": results[0][2],
        }
        for name, results in taken.items()
        if results and results[0][2]
    }


def report(results: dict[str, dict[str, dict[str, float]]]) -> str:
    """A Markdown table."""
    names = list(dict.fromkeys(name for row in results.values() for name in row))
    lines = ["| file | " + " | ".join([*names, *RATIOS]) + " |"]
    lines.append("|" + "---|" * (len(names) + len(RATIOS) + 1))
    for file, row in results.items():
        cells = [
            f"{row[name]['cpu_seconds_a_minute']:.2f}" if name in row else "-" for name in names
        ]
        needed, full, limit, shrunk = (
            row[name]["cpu_seconds_a_minute"]
            for name in ("needed", "everything", "limit", "limit, read and shrunk")
        )
        ratios = full / needed, full / limit, needed / limit, needed / shrunk
        cells += [f"{ratio:.2f}" for ratio in ratios]
        lines.append(f"| {file} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def versions() -> str:
    """What was measured with."""
    found = [f"Python {platform.python_version()}", f"{os.cpu_count()} CPUs"]
    for package in (
        "av", "torchcodec", "decord", "eva-decord", "opencv-python-headless", "scenedetect"
    ):  # fmt: skip
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


def main() -> None:
    """Make the files, measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=30, help="length of the files made")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds")
    parser.add_argument("--files", nargs="+", default=[*RECIPES, "media"])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--folder", type=Path, help="keep the files made here")
    parser.add_argument("--output", type=Path, help="write all figures here, as JSON")
    options = parser.parse_args()
    names = available(list(dict.fromkeys(["needed", "everything", *options.methods])))
    results = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        for path in paths(options.files, folder, options.seconds):
            results[path.stem] = benchmark(path, names, options.rounds)
            needed, limit = (results[path.stem][one] for one in ("needed", "limit"))
            print(
                f"{path.stem}: {needed['cpu_seconds_a_minute']:.2f} CPU s a minute, "
                f"limit {limit['cpu_seconds_a_minute']:.2f}",
                flush=True,
            )
    print(f"\nCPU seconds a minute of video, median of {options.rounds} rounds; {versions()}\n")
    print(report(results))
    if options.output:
        options.output.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
