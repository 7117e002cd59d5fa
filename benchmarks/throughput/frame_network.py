"""Claim: one batch suits the frame network on every CPU; INT8 products pay where they are fast.

Runs the frame networks of bundles in turns over batches and threads, on ONNX Runtime, and prints
processor milliseconds a frame, the least of some rounds. With ``--dynamic`` each network runs again
with its matrix products in dynamic INT8.

    python -m benchmarks.throughput.frame_network --threads 1 2
    python -m benchmarks.throughput.frame_network clip-b32 --dynamic --batches 8
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.throughput.machine import machine_line
from vtloc_calibration.quantize.dynamic import DynamicWriter, dynamic_candidates
from vtloc_calibration.quantize.onnx_graph import load_graph
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.networks.load import preferred_precision
from vtloc_runtime.networks.onnxruntime_backend import OnnxRuntimeNetwork

if TYPE_CHECKING:
    from vtloc_runtime.networks.interface import Network

FRAMES = 32
"""Frames in one round, in as many batches as that takes."""


def frame_networks(name: str | None, *, dynamic: bool) -> dict[str, bytes]:
    """A bundle's frame network, and the same in dynamic INT8."""
    bundle = Bundle.open(name)
    precision = preferred_precision(bundle, "visual", backend="onnxruntime", device="cpu")
    file = bundle.variant("visual", precision)
    title = bundle.manifest.provenance.visual_encoder
    found = {title: bundle.read(file.file, file.sha256)}
    if dynamic:
        found[f"{title}, dynamic INT8"] = in_dynamic_int8(found[title])
    return found


def in_dynamic_int8(content: bytes) -> bytes:
    """A network with its matrix products in INT8, ranges of activations taken as it runs."""
    model = load_graph(content)
    lowered: bytes = DynamicWriter(model).write(dynamic_candidates(model)).SerializeToString()
    return lowered


def cost(network: Network, batch: int) -> float:
    """Processor milliseconds of a frame."""
    size = network.inputs["frames"].shape[1]
    if not isinstance(size, int):
        raise SystemExit("the network takes pictures of any size")
    chance = np.random.default_rng(0)
    frames = chance.integers(0, 256, (batch, size, size, 3), dtype=np.uint8)
    runs = max(1, FRAMES // batch)
    began = time.process_time()
    for _ in range(runs):
        network.run({"frames": frames})
    return 1000 * (time.process_time() - began) / (runs * batch)


def main() -> None:
    """Measure, print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundles", nargs="*", help="without any the one that ships")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 8, 16, 32])
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dynamic", action="store_true", help="also with products in INT8")
    options = parser.parse_args()
    files: dict[str, bytes] = {}
    for name in options.bundles or [None]:
        files |= frame_networks(name, dynamic=options.dynamic)
    print("| network | threads | " + " | ".join(f"batch {one}" for one in options.batches) + " |")
    print("|---|--:|" + "--:|" * len(options.batches), flush=True)
    for threads in options.threads:
        opened = {
            title: OnnxRuntimeNetwork("visual", content, threads=threads)
            for title, content in files.items()
        }
        found: dict[tuple[str, int], float] = {}
        for number in range(options.rounds + 1):
            for batch in options.batches:
                for title, network in opened.items():
                    # The first round warms up the networks' memory, and is not counted.
                    taken = cost(network, batch)
                    if not number:
                        taken = float("inf")
                    found[title, batch] = min(found.get((title, batch), float("inf")), taken)
        for title in opened:
            cells = (f"{found[title, batch]:.1f}" for batch in options.batches)
            print(f"| {title} | {threads} | {' | '.join(cells)} |", flush=True)
    print(f"\nProcessor ms a frame. {machine_line('onnxruntime')}")


if __name__ == "__main__":
    main()
