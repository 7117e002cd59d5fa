"""Claim: a run stopped at any moment, again and again, ends as an undisturbed one does.

Starts ``vtloc-run`` over small videos, stops it, starts it again with the same command until it
ends, and compares the results with those of a run that nobody disturbed. It is stopped by SIGKILL,
and by signals to its whole process group, decoders included: SIGTERM, SIGHUP and SIGINT in turn.
Half of the stops fall at any moment of a run, its start and its end included; the others while the
results file grows, that is, between a record's write and its arrival on the disk. Prints how many
results were lost, duplicated, or different, false failures included.

    python -m benchmarks.durability.resume --kills 200 --signals 48
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from benchmarks.throughput.machine import machine_line

PROGRAM = [sys.executable, "-c", "from vtloc_runtime.cli.main import main; main()"]
SENTENCES = ("a red screen", "a blue screen")


def write_videos(folder: Path, count: int) -> None:
    """Videos of plain colours, a few seconds long, no two alike."""
    folder.mkdir()
    for number in range(count):
        with av.open(str(folder / f"{number:03d}.mp4"), "w") as container:
            stream = container.add_stream("mpeg4", rate=8)
            stream.width = stream.height = 64
            stream.pix_fmt = "yuv420p"
            for second in range(4):
                level = (61 * number + 97 * second) % 256
                picture = np.full((64, 64, 3), (level, 40, 255 - level), dtype=np.uint8)
                for _ in range(8):
                    frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                    container.mux(stream.encode(frame))
            container.mux(stream.encode(None))


def start(videos: Path, out: Path, extra: list[str]) -> subprocess.Popen[bytes]:
    """The command under test, always the same but for the results file."""
    queries = [word for sentence in SENTENCES for word in ("-q", sentence)]
    return subprocess.Popen(
        [*PROGRAM, str(videos), *queries, "--no-cache", "--quiet", "-o", str(out), *extra],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def stop(
    process: subprocess.Popen[bytes], out: Path, seconds: float, growths: int, number: int
) -> bool:
    """Signal a run after some time, or once its file has grown so often, whichever is first.

    Returns:
        Whether there was still something to stop.
    """
    began, size = time.perf_counter(), _size(out)
    while process.poll() is None:
        if (now := _size(out)) != size:
            size, growths = now, growths - 1
        if not growths or time.perf_counter() - began > seconds:
            if number == signal.SIGKILL:
                process.kill()
            else:
                os.killpg(process.pid, number)
            # A run may have ended by itself in the meantime. One that stops in an orderly way
            # leaves with 128 and the signal's number.
            return process.wait() in {-number, 128 + number}
        time.sleep(0.0005)
    return False


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def results(out: Path) -> list[tuple[str, str]]:
    """Each record's id and answer."""
    records = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    return [(record["id"], json.dumps(record.get("moments"))) for record in records]


@dataclass
class Damage:
    """What stopping runs did to their results."""

    stopped: int = 0
    in_writing: int = 0
    rounds: int = 0
    lost: int = 0
    duplicated: int = 0
    different: int = 0

    def count(self, found: list[tuple[str, str]], whole: dict[str, str]) -> None:
        """Compare a run's results with those of the undisturbed one."""
        counts = Counter(record for record, _ in found)
        self.lost += len(whole.keys() - counts.keys())
        self.duplicated += sum(count - 1 for count in counts.values())
        self.different += sum(whole.get(record) != answer for record, answer in found)


def stop_runs(
    folder: Path, whole: dict[str, str], extra: list[str], wanted: int, numbers: tuple[int, ...]
) -> Damage:
    """Stop runs until enough were stopped; each is given again until it ends."""
    damage = Damage()
    chance = random.Random(len(numbers))
    length = 8.0
    while damage.stopped < wanted:
        out = folder / f"{numbers[0]}-{damage.rounds}.jsonl"
        damage.rounds += 1
        while True:
            began = time.perf_counter()
            process = start(folder / "videos", out, extra)
            number = numbers[damage.stopped % len(numbers)]
            written = chance.random() < 0.5
            seconds = 10 * length if written else chance.uniform(0, length)
            growths = chance.randint(1, len(whole) // 8) if written else -1
            if not stop(process, out, seconds, growths, number):
                # The machine may be faster by now than it was at first.
                length = min(length, 1.5 * (time.perf_counter() - began))
                break
            damage.stopped += 1
            damage.in_writing += written
        damage.count(results(out), whole)
    return damage


def main() -> None:
    """Stop runs and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=60, help="runs to kill")
    parser.add_argument("--signals", type=int, default=12, help="signals to the whole group")
    parser.add_argument("--videos", type=int, default=40, help="videos in a run")
    parser.add_argument("--bundle", help="a bundle; without it the one that ships with vtloc")
    options = parser.parse_args()
    extra = ["--bundle", options.bundle] if options.bundle else []
    group = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    for number in group:
        # Shells have background jobs ignore some, and what is ignored is inherited.
        signal.signal(number, signal.SIG_DFL)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_videos(folder / "videos", options.videos)
        if start(folder / "videos", folder / "whole.jsonl", extra).wait() != 0:
            sys.exit("the undisturbed run failed")
        whole = dict(results(folder / "whole.jsonl"))
        found = {
            "SIGKILL": stop_runs(folder, whole, extra, options.kills, (signal.SIGKILL,)),
            "to the group": stop_runs(folder, whole, extra, options.signals, group),
        }
    print(
        "| signal | stopped | of these in writing | rounds | jobs each | lost | doubled | false |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    for name, damage in found.items():
        print(
            f"| {name} | {damage.stopped} | {damage.in_writing} | {damage.rounds} | {len(whole)} "
            f"| {damage.lost} | {damage.duplicated} | {damage.different} |"
        )
    print(f"\n{machine_line('onnxruntime')}")
    sys.exit(any(d.lost or d.duplicated or d.different for d in found.values()))


if __name__ == "__main__":
    main()
