"""Claim: the service adds at most a tenth to what the class takes, and its memory stays flat.

Makes some films, has ``vtloc-run serve`` encode them, then lets eight callers ask about them over
HTTP, in turn with eight threads that call ``Localizer.localize`` on the same encoded films. Rounds
alternate, because other programs may share the machine. Processor time is counted beside the
clock's: that of the process that answers, and apart from it that of the callers' program, which
takes the same processors. Rates compare only on a machine without other work: elsewhere, eight
threads get more of it than the service's two.

    python -m benchmarks.throughput.serving --requests 2000
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import av
import httpx
import numpy as np

from benchmarks.throughput.machine import machine_line
from vtloc_runtime import Localizer

if TYPE_CHECKING:
    from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo

PROGRAM = [sys.executable, "-c", "from vtloc_runtime.cli.main import main; main()"]
CALLERS = 8
SENTENCES = [
    f"{adjective} {thing}"
    for adjective in ("a small", "a red", "an old", "a round")
    for thing in ("cat", "car", "boat", "tree", "lamp", "horse", "bottle", "bridge")
]
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Round:
    """One round of requests.

    Attributes:
        rate: Requests a second.
        middle: The time that half of the requests stayed below, milliseconds.
        high: The time that 99 of 100 stayed below.
        cost: Processor time of a request, milliseconds.
        callers: Processor time of the program that asks for it, milliseconds.
    """

    rate: float
    middle: float
    high: float
    cost: float
    callers: float = 0.0


def make_films(folder: Path, *, count: int, seconds: int) -> None:
    """Films of random pictures, another each second."""
    chance = np.random.default_rng(0)
    for number in range(count):
        with av.open(str(folder / f"film {number}.mp4"), "w") as container:
            stream = container.add_stream("mpeg4", rate=2)
            stream.width = stream.height = 96
            stream.pix_fmt = "yuv420p"
            for _ in range(seconds):
                blocks = chance.integers(0, 256, (6, 6, 3), dtype=np.uint8)
                picture = np.ascontiguousarray(blocks.repeat(16, 0).repeat(16, 1))
                for _ in range(2):
                    frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                    container.mux(stream.encode(frame))
            container.mux(stream.encode(None))


def processor_seconds(process: int) -> float:
    """Seconds of processor time that a process has taken."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def memory(process: int) -> float:
    """MiB of memory that a process holds for itself."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    found = re.search(r"RssAnon:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


def summary(times: list[float], elapsed: float, processor: float, callers: float = 0.0) -> Round:
    """A round's figures from the seconds of each request."""
    ordered = sorted(times)
    return Round(
        len(times) / elapsed,
        1000 * ordered[len(ordered) // 2],
        1000 * ordered[int(len(ordered) * 0.99)],
        1000 * processor / len(times),
        1000 * callers / len(times),
    )


def ask_class(localizer: Localizer, films: list[EncodedVideo], requests: int) -> Round:
    """Eight threads that call the class."""
    times: list[float] = []
    numbers = iter(range(requests))
    lock = threading.Lock()

    def call() -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            began = time.perf_counter()
            localizer.localize(
                films[number % len(films)], [SENTENCES[number % len(SENTENCES)]], moments=1
            )
            times.append(time.perf_counter() - began)

    before, began = processor_seconds(os.getpid()), time.perf_counter()
    threads = [threading.Thread(target=call) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return summary(times, time.perf_counter() - began, processor_seconds(os.getpid()) - before)


def ask_service(address: str, process: int, names: list[str], requests: int) -> Round:
    """Eight callers over HTTP, each on a connection of its own."""
    host, port = address.removeprefix("http://").split(":")
    times: list[float] = []
    numbers = iter(range(requests))

    async def call() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        for number in numbers:
            body = json.dumps(
                {
                    "video": names[number % len(names)],
                    "queries": [SENTENCES[number % len(SENTENCES)]],
                }
            ).encode()
            began = time.perf_counter()
            writer.write(
                b"POST /v1/moments HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json"
                b"\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
            )
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in head.split(b"\r\n", 1)[0]:
                raise SystemExit(head.decode())
            found = re.search(rb"content-length: (\d+)", head)
            await reader.readexactly(int(found[1]) if found else 0)
            times.append(time.perf_counter() - began)
        writer.close()

    async def everybody() -> None:
        await asyncio.gather(*(call() for _ in range(CALLERS)))

    before, own, began = processor_seconds(process), time.process_time(), time.perf_counter()
    asyncio.run(everybody())
    return summary(
        times,
        time.perf_counter() - began,
        processor_seconds(process) - before,
        time.process_time() - own,
    )


def start(folder: Path, cache: Path) -> tuple[subprocess.Popen[str], str]:
    """Start the service; its process and address."""
    process = subprocess.Popen(
        [*PROGRAM, "serve", str(folder), "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "VTLOC_CACHE": str(cache)},
    )
    for line in process.stderr or ():
        if found := re.search(r"serving at (\S+)", line):
            return process, found[1]
    raise SystemExit("the service did not start")


def print_rounds(name: str, rounds: list[Round]) -> None:
    """One row: medians over rounds, the lowest and highest in brackets."""
    cells = []
    for field in ("rate", "middle", "high", "cost"):
        values = [getattr(one, field) for one in rounds]
        cells.append(f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})")
    print(f"| {name} | {' | '.join(cells)} |")


def interval(ratios: list[float]) -> str:
    """The median ratio of pairs of rounds, and its 95 % interval."""
    resampled = np.random.default_rng(0).choice(ratios, (10_000, len(ratios)))
    low, high = np.quantile(np.median(resampled, 1), [0.025, 0.975])
    return f"{statistics.median(ratios):.2f} ({low:.2f} to {high:.2f})"


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--films", type=int, default=8)
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=2000)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder, cache = Path(scratch) / "films", Path(scratch) / "cache"
        folder.mkdir()
        make_films(folder, count=chosen.films, seconds=chosen.seconds)
        process, address = start(folder, cache)
        try:
            names = httpx.get(f"{address}/v1/videos").json()["videos"]
            time.sleep(2.5)
            ask_service(address, process.pid, names, len(names) + len(SENTENCES))
            with Localizer.open(threads=1) as localizer:
                paths = sorted(folder.iterdir())
                films = [localizer.encode_video(str(path)) for path in paths]
                ask_class(localizer, films, len(SENTENCES))
                each = max(CALLERS, chosen.requests // chosen.rounds)
                direct, served, held = [], [], [memory(process.pid)]
                for _ in range(chosen.rounds):
                    direct.append(ask_class(localizer, films, each))
                    served.append(ask_service(address, process.pid, names, each))
                    held.append(memory(process.pid))
        finally:
            process.terminate()
            process.wait()
    print("| | requests/s | p50, ms | p99, ms | processor ms a request |")
    print("|---|---|---|---|---|")
    print_rounds("the class, 8 threads", direct)
    print_rounds("the service, 8 callers", served)
    pairs = list(zip(served, direct, strict=True))
    more = interval([one.cost / other.cost for one, other in pairs])
    slower = interval([other.rate / one.rate for one, other in pairs])
    print(f"\nThe service takes {more} times the processor time, {slower} times the time.")
    asking = statistics.median(one.callers for one in served)
    print(f"The callers' program takes {asking:.2f} ms of the processor for a request.")
    print("Ratios of processor time:", *(f"{one.cost / other.cost:.2f}" for one, other in pairs))
    print(f"Memory before and after each {each} requests, MiB: {[round(one) for one in held]}")
    print(machine_line("onnxruntime", "fastapi", "uvicorn"))


if __name__ == "__main__":
    main()
