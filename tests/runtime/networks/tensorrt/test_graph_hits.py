"""CUDA graphs recur on the traffic of the benchmarks: a simulation of the shapes that are sent.

Lengths follow the benchmarks' published ones: Charades-STA films of 20 to 40 s, ActivityNet
Captions of 5 to 240 s, QVHighlights of 150 s, at a frame a second; sentences of about 11 tokens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from vtloc_export.engines.profiles import network_profiles, runtime_traffic
from vtloc_export.signatures import SIGNATURES
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.bundle.manifest import NetworkName
from vtloc_runtime.localize.spans.windows import plan_windows
from vtloc_runtime.networks.interface import TensorSpec
from vtloc_runtime.networks.tensorrt.cuda_graphs import GraphCache
from vtloc_runtime.networks.tensorrt.layout import EngineLayout
from vtloc_runtime.networks.tensorrt.network import DEFAULT_GRAPHS

FILMS = {"charades": 1334, "activitynet": 4885, "qvhighlights": 1529}
SECONDS = {"charades": (20, 40), "activitynet": (5, 240), "qvhighlights": (150, 151)}
SENTENCES = {"charades": (1, 5), "activitynet": (2, 7), "qvhighlights": (1, 2)}
WIDTHS = {"size": 224, "feature": 1664, "token": 384, "sentence": 384}

Lengths = dict[str, int]


class Graph:
    def close(self) -> None: ...


def context() -> Any:
    return Graph()


def layout(network: NetworkName) -> EngineLayout:
    """The engine's shapes and profiles, as the default bundle's are built."""
    signature = SIGNATURES[network]
    entries = [tensor.entry(WIDTHS, "fp16") for tensor in (*signature.inputs, *signature.outputs)]
    specs = {entry.name: TensorSpec(entry.name, entry.dtype, entry.shape) for entry in entries}
    names = [tensor.name for tensor in signature.inputs]
    traffic = runtime_traffic(Bundle.open(), network)
    return EngineLayout(
        {name: specs[name] for name in names},
        {name: spec for name, spec in specs.items() if name not in names},
        network_profiles(entries[: len(names)], traffic),
    )


def share_of_launches(network: NetworkName, calls: Iterator[Lengths]) -> float:
    """The share of calls that launch a graph, by the runtime's own buckets and cache."""
    shapes_of = layout(network)
    caches = [GraphCache(DEFAULT_GRAPHS, context) for _ in shapes_of.profiles]
    launched = total = 0
    for lengths in calls:
        shapes = {
            name: tuple(n if isinstance(n, int) else lengths[n] for n in spec.shape)
            for name, spec in shapes_of.inputs.items()
        }
        profile = shapes_of.choose_profile(shapes)
        key = tuple(shapes_of.bucket(shapes, profile).values())
        cache, total = caches[profile], total + 1
        if cache.find(key) is not None:
            launched += 1
        elif cache.recurs(key):
            cache.admit(key).graph = Graph()
    assert total > 500
    return launched / total


def films(benchmark: str) -> Iterator[tuple[int, list[int]]]:
    """Seconds and sentences' tokens of each film."""
    generator = np.random.default_rng(7)
    for _ in range(FILMS[benchmark]):
        count = int(generator.integers(*SENTENCES[benchmark]))
        tokens = np.clip(generator.normal(11, 3.5, count).round(), 4, 30).astype(int)
        yield int(generator.integers(*SECONDS[benchmark])), tokens.tolist()


def visual_calls(benchmark: str) -> Iterator[Lengths]:
    generator = np.random.default_rng(8)
    for seconds, _ in films(benchmark):
        for start in range(0, seconds, 64):
            chunk = min(64, seconds - start)
            # Frames that resemble their neighbours share features and are not sent.
            yield {"batch": int(generator.integers(max(1, chunk // 2), chunk + 1))}


def text_calls(benchmark: str) -> Iterator[Lengths]:
    for _, sentences in films(benchmark):
        for tokens, count in sorted(Counter(sentences).items()):
            yield {"batch": count, "tokens": tokens}


def window_lengths(seconds: int) -> Iterator[int]:
    """Frames of each window that the localizer sees of a film, at one frame a second."""
    windows = Bundle.open().manifest.windows
    step = -(-min(seconds, round(windows.seconds or windows.frames)) // windows.frames)
    for phase in range(step):
        sampled = len(range(phase, seconds, step))
        for window in plan_windows(sampled, frames=windows.frames, overlap=windows.overlap):
            yield len(window)


def localizer_calls(benchmark: str) -> Iterator[Lengths]:
    for seconds, sentences in films(benchmark):
        for frames in window_lengths(seconds):
            yield {"batch": len(sentences), "frames": frames, "tokens": max(sentences)}


def service_calls(benchmark: str) -> Iterator[Lengths]:
    for seconds, sentences in films(benchmark):
        for tokens in sentences:
            for frames in window_lengths(seconds):
                yield {"batch": 1, "frames": frames, "tokens": tokens}


@pytest.mark.parametrize("benchmark", SECONDS)
@pytest.mark.parametrize(
    ("network", "calls"),
    [
        ("visual", visual_calls),
        ("text", text_calls),
        ("localizer", localizer_calls),
        ("localizer", service_calls),
    ],
    ids=["visual", "text", "localizer", "service"],
)
def test_at_least_95_of_100_calls_launch_a_graph(
    benchmark: str, network: NetworkName, calls
) -> None:
    share = share_of_launches(network, calls(benchmark))
    print(f"{benchmark} {network} {calls.__name__}: {share:.1%}")
    assert share >= 0.95


def test_traffic_without_repetition_is_left_uncaptured() -> None:
    captured = 0
    cache = GraphCache(8, context)
    for number in range(3000):
        key = (number % 100,)
        if cache.find(key) is None and cache.recurs(key):
            cache.admit(key).graph = Graph()
            captured += 1
    # A hundred shapes in turn would throw every graph out before its second launch.
    assert captured < 300
