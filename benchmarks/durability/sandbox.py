"""Claim: a decoder in its sandbox gives the same frames, as fast, and reaches nothing outside.

Starts decoder processes with and without their sandbox, in turns; reads every file of a folder with
and without it and in this process, and compares the frames bit for bit; and tries from inside the
sandbox what code that took a decoder over would try.

    python -m benchmarks.durability.sandbox ../media/videos
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.throughput.machine import machine_line
from tests.support.sandbox_probes import probe_sandbox
from vtloc_runtime.errors import VtlocError
from vtloc_runtime.video import VideoOptions
from vtloc_runtime.video.isolation import launch
from vtloc_runtime.video.isolation.chunks import FrameChunk, Read, read_here
from vtloc_runtime.video.isolation.decoder_process import DecoderProcess

_MAIN = "from vtloc_runtime.video.isolation.decoder_child import main\n"
_BARE = """
import vtloc_runtime.video.isolation.decoder_child as child
child._warm_up = lambda: None
child.enter_sandbox = lambda **_: child.Ready({}, {})
"""


@contextmanager
def decoder(*, sandbox: bool) -> Iterator[DecoderProcess]:
    """A decoder process that has started, in its sandbox or in none."""
    with DecoderProcess() as process:
        boot = launch._BOOT
        if not sandbox:
            launch._BOOT = boot.replace(_MAIN, _BARE + _MAIN)
        try:
            report = process.start()
        finally:
            launch._BOOT = boot
        if bool(report.held) != sandbox:
            raise SystemExit(f"asked for sandbox={sandbox}, and got: {report}")
        yield process


def measure_start(rounds: int) -> dict[str, list[float]]:
    """Seconds until a decoder is ready, in turns."""
    seconds: dict[str, list[float]] = {"without": [], "with": []}
    for _ in range(rounds):
        for name, found in seconds.items():
            began = time.perf_counter()
            with decoder(sandbox=name == "with"):
                found.append(time.perf_counter() - began)
    return seconds


def read_all(read: Read, path: Path) -> tuple[Any, ...]:
    """All frames of a file and its end, or why it cannot be read."""
    try:
        parts = list(read(str(path), VideoOptions(), 16))
    except VtlocError as error:
        return (str(error),)
    chunks = [part for part in parts if isinstance(part, FrameChunk)]
    images = np.concatenate([chunk.images[chunk.index] for chunk in chunks])
    return images.tobytes(), np.concatenate([chunk.times for chunk in chunks]).tobytes(), parts[-1]


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="videos to compare")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    starts = measure_start(options.rounds)
    files = sorted(
        path for path in options.folder.iterdir() if path.suffix not in {".md", ".jsonl"}
    )
    spent = dict.fromkeys(("in this process", "without", "with"), 0.0)
    same = 0
    with decoder(sandbox=False) as bare, decoder(sandbox=True) as boxed:
        report = boxed.start()
        ways = {"in this process": read_here, "without": bare.read, "with": boxed.read}
        for path in files:
            found = []
            for name, read in ways.items():
                began = time.perf_counter()
                found.append(read_all(read, path))
                spent[name] += time.perf_counter() - began
            same += found[0] == found[1] == found[2]
    with tempfile.TemporaryDirectory() as folder:
        probed = probe_sandbox(Path(folder))
    print("| | without sandbox | with |")
    print("|---|---|---|")
    shown = [f"{statistics.median(starts[name]):.3f}" for name in ("without", "with")]
    print(f"| start, s, median of {options.rounds} | {' | '.join(shown)} |")
    print(f"| {len(files)} files, s | {spent['without']:.2f} | {spent['with']:.2f} |")
    print(f"| files with the frames of this process | | {same} of {len(files)} |")
    done = [name for name, outcome in probed.denied.items() if outcome == "done"]
    tried = f"{len(done)} of {len(probed.denied)}"
    print(f"| attempts that reached outside | | {tried}{': ' * bool(done)}{', '.join(done)} |")
    print(f"\nSandbox: {report}.\n{machine_line('numpy')}")
    print(f"Reading in this process: {spent['in this process']:.2f} s.")


if __name__ == "__main__":
    main()
