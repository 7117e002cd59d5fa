"""Claim: a run killed at any moment, again and again, ends as an undisturbed one does.

Starts ``vtloc-run`` over small videos, kills it (SIGKILL), starts it again with the same command
until it ends, and compares the results with those of a run that nobody disturbed. Half of the kills
fall at any moment of a run, its start and its end included; the others where the results file grows
before one's eyes, that is, between a record's write and its arrival on the disk. Goes on until
enough runs were killed. Prints how many results were lost, duplicated or different.

    python -m benchmarks.durability.resume --kills 60
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
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
    )


def kill(process: subprocess.Popen[bytes], out: Path, seconds: float, growths: int) -> bool:
    """Kill a run after some time, or once its file has grown so often, whichever is first.

    Returns:
        Whether there was still something to kill.
    """
    began, size = time.perf_counter(), _size(out)
    while process.poll() is None:
        if (now := _size(out)) != size:
            size, growths = now, growths - 1
        if not growths or time.perf_counter() - began > seconds:
            process.kill()
            # A run may have ended by itself in the meantime.
            return process.wait() < 0
        time.sleep(0.0005)
    return False


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def results(out: Path) -> list[tuple[str, str]]:
    """Each record's id and answer."""
    records = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    return [(record["id"], json.dumps(record["moments"])) for record in records]


def main() -> None:
    """Kill runs and print the count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=60, help="runs to kill")
    parser.add_argument("--videos", type=int, default=40, help="videos in a run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bundle", help="a bundle; without it the one that ships with vtloc")
    options = parser.parse_args()
    extra = ["--bundle", options.bundle] if options.bundle else []
    chance = random.Random(options.seed)
    lost = duplicated = different = killed = in_writing = rounds = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_videos(folder / "videos", options.videos)
        began = time.perf_counter()
        if start(folder / "videos", folder / "whole.jsonl", extra).wait() != 0:
            sys.exit("the undisturbed run failed")
        length = time.perf_counter() - began
        whole = dict(results(folder / "whole.jsonl"))
        while killed < options.kills:
            out = folder / f"{rounds}.jsonl"
            rounds += 1
            while True:
                process = start(folder / "videos", out, extra)
                began = time.perf_counter()
                if chance.random() < 0.5:
                    hit = kill(process, out, chance.uniform(0, length), -1)
                else:
                    hit = kill(process, out, 10 * length, chance.randint(1, options.videos // 4))
                    in_writing += hit
                if not hit:
                    # The machine may be faster by now than it was at first.
                    length = min(length, 1.5 * (time.perf_counter() - began))
                    break
                killed += 1
            found = results(out)
            counts = Counter(record for record, _ in found)
            lost += len(whole.keys() - counts.keys())
            duplicated += sum(count - 1 for count in counts.values())
            different += sum(whole.get(record) != answer for record, answer in found)
    print("| killed | of these in writing | rounds | jobs each | lost | duplicated | different |")
    print("|--:|--:|--:|--:|--:|--:|--:|")
    print(
        f"| {killed} | {in_writing} | {rounds} | {len(whole)} "
        f"| {lost} | {duplicated} | {different} |"
    )
    print(f"\n{machine_line('onnxruntime')}")
    sys.exit(bool(lost or duplicated or different))


if __name__ == "__main__":
    main()
