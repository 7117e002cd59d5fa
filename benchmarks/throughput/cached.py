"""Claim: over cached videos nearly all of the time is the networks' own.

Encodes short films into a cache, then asks sentences about all of them as a second run does: the
cache is read, sentences are tokenized and encoded, the localizer runs, logits become moments,
records are written to a results file. Every network is timed from outside; the rest is ours.

    OPENBLAS_NUM_THREADS=1 python -m benchmarks.throughput.cached --videos 100 --sentences 1 4 16
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.throughput.machine import machine_line
from vtloc_runtime import Localizer
from vtloc_runtime.batch.answer import run_jobs
from vtloc_runtime.batch.job_lists.jobs import Job, VideoJobs
from vtloc_runtime.batch.results.results_file import ResultsFile
from vtloc_runtime.batch.workers.worker_pool import PipelineOptions
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo
from vtloc_runtime.localize.encoding.feature_cache import FeatureCache
from vtloc_runtime.networks.interface import Array, Network, WrappedNetwork
from vtloc_runtime.networks.load import open_network, preferred_precision

if TYPE_CHECKING:
    from vtloc_runtime.bundle.manifest import NetworkName

NAMES: tuple[NetworkName, ...] = ("visual", "text", "localizer")
ADJECTIVES = ("small", "large", "red", "green", "old", "wet", "bright", "dark", "round", "wooden")
THINGS = ("cat", "car", "boat", "table", "tree", "lamp", "horse", "bottle", "bridge", "street")
PLACES = ("on a hill", "beside the river", "in a kitchen", "under the sky", "behind a house")


class Timed(WrappedNetwork):
    """A network that adds up the time spent inside it; it runs on the thread that calls it."""

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        self._lock = threading.Lock()
        self.seconds = 0.0
        self.processor = 0.0

    def run(
        self, inputs: Mapping[str, Array], outputs: Collection[str] | None = None
    ) -> dict[str, Array]:
        """Run the network by the clock."""
        began, busy = time.perf_counter(), time.thread_time()
        try:
            return self._network.run(inputs, outputs)
        finally:
            with self._lock:
                self.seconds += time.perf_counter() - began
                self.processor += time.thread_time() - busy


def sentences() -> Iterator[str]:
    """No two alike."""
    number = 0
    while True:
        for thing in THINGS:
            for adjective in ADJECTIVES:
                for place in PLACES:
                    yield f"a {adjective} {thing} {place}" + (f" {number}" if number else "")
        number += 1


def fill(cache: FeatureCache, localizer: Localizer, folder: Path, videos: int) -> list[str]:
    """Put videos of different lengths into the cache; what they show does not matter here."""
    chance = np.random.default_rng(0)
    width = localizer.bundle.manifest.networks["visual"].dims["feature"]
    encoder = localizer.encoder
    paths = []
    for number in range(videos):
        path = folder / f"{number:04d}.mp4"
        path.write_bytes(chance.bytes(4096))
        frames = int(chance.integers(30, 240))
        steps = chance.normal(0, 0.1, (frames, width)).cumsum(axis=0)
        video = EncodedVideo(
            steps.astype(np.float32), np.arange(frames, dtype=np.float64), float(frames)
        )
        key = cache.key(path, encoder.signature)
        if key is None:
            raise SystemExit("the cache does not take the videos")
        cache.put(key, replace(video, encoder=_hash(localizer)))
        paths.append(str(path))
    return paths


def _hash(localizer: Localizer) -> str:
    """One that the localizer takes for its own encoder's."""
    variants = localizer.bundle.manifest.networks["visual"].variants
    return next(iter(variants.values())).sha256


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run took.

    Attributes:
        seconds: By the clock.
        outside: The share of them that was spent outside the networks.
        processor: Processor time, seconds.
        inside: Processor time inside the networks, seconds.
    """

    seconds: float
    outside: float
    processor: float
    inside: float


def measure(
    localizer: Localizer,
    networks: Mapping[NetworkName, Timed],
    cache: FeatureCache,
    jobs: list[VideoJobs],
    out: Path,
) -> Cost:
    """One run over everything."""
    options = PipelineOptions(workers=1, cache=cache)
    before = spent(networks)
    began, busy = time.perf_counter(), time.process_time()
    with ResultsFile(out, run="measured") as results:
        for records in run_jobs(localizer, jobs, run="measured", options=options):
            if failed := [record.error for record in records if record.failed]:
                raise SystemExit(str(failed[0]))
            results.append(records)
    took, processor = time.perf_counter() - began, time.process_time() - busy
    seconds, inside = (now - then for now, then in zip(spent(networks), before, strict=True))
    return Cost(took, 1 - seconds / took, processor, inside)


def spent(networks: Mapping[NetworkName, Timed]) -> tuple[float, float]:
    """Seconds inside the networks so far, by the clock and of the processor."""
    timed = networks.values()
    return sum(one.seconds for one in timed), sum(one.processor for one in timed)


def main() -> None:
    """Measure, print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, default=100)
    parser.add_argument("--sentences", type=int, nargs="+", default=[1, 4, 16], help="a video")
    parser.add_argument("--bundle", type=Path, help="a bundle; without it the one that ships")
    options = parser.parse_args()
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":
        raise SystemExit("set OPENBLAS_NUM_THREADS=1, as vtloc-run does before it loads NumPy")
    bundle = Bundle.open(options.bundle)
    print(
        "| sentences a video | sentences a second | outside the networks | processor ms a video "
        "| in the networks | outside | share |"
    )
    print("|--:|--:|--:|--:|--:|--:|--:|", flush=True)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        precision = preferred_precision(bundle, "visual", backend="onnxruntime", device="cpu")
        networks: dict[NetworkName, Timed] = {}
        for network in NAMES:
            opened = open_network(
                bundle,
                network,
                backend="onnxruntime",
                device="cpu",
                precision=precision,
                threads=1,
            )
            networks[network] = Timed(stack.enter_context(opened))
        localizer = Localizer(bundle, dict(networks), encoder="", batch=16)
        cache = FeatureCache(folder / "cache")
        paths = fill(cache, localizer, folder, options.videos)
        source = sentences()
        # The first run warms up the networks' memory, and is not counted.
        for number, count in enumerate((1, *options.sentences)):
            jobs = [
                VideoJobs(
                    path,
                    tuple(Job(f"{path} {n}", path, next(source)) for n in range(count)),
                )
                for path in paths
            ]
            out = folder / f"{number}.jsonl"
            cost = measure(localizer, networks, cache, jobs, out)
            total = count * len(paths)
            if number:
                whole, inside = (1000 * part / len(paths) for part in (cost.processor, cost.inside))
                print(
                    f"| {count} | {total / cost.seconds:.1f} | {cost.outside:.1%} | {whole:.1f} "
                    f"| {inside:.1f} | {whole - inside:.1f} | {1 - inside / whole:.1%} |",
                    flush=True,
                )
    print(
        f"\n{options.videos} videos of 30 to 240 frames, one worker, one thread. "
        + machine_line("onnxruntime")
    )


if __name__ == "__main__":
    main()
