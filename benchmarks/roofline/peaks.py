"""The roofline: peak rates of processors, and the bound that they put on a network.

A network run moves its weights, inputs and outputs through memory once at least, and computes
what its products ask for. The larger of the two times is the roofline. Activations in between are
left out: a fused engine keeps them on the chip, and what it cannot keep only makes it slower.
"""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.roofline.network_cost import NetworkCost

_GEMM_SIZE = 1024
_COPY_BYTES = 2**26
_SPELLS, _SPELL = 3, 0.1


@dataclass(frozen=True, slots=True)
class Peak:
    """The peak rates of a processor.

    Attributes:
        processor: Its name.
        fp32: FP32 operations a second, without TF32.
        fp16: FP16 operations a second, dense, accumulated in FP32.
        bandwidth: Bytes of its memory a second.
        source: Where the figures come from.
    """

    processor: str
    fp32: float
    fp16: float
    bandwidth: float
    source: str

    def compute(self, precision: str) -> float:
        """Operations a second in a precision."""
        if precision == "int8" and self.fp16 > self.fp32:
            return 2 * self.fp16  # tensor cores multiply bytes twice as fast as halves
        return self.fp16 if precision == "fp16" else self.fp32


@dataclass(frozen=True, slots=True)
class Bound:
    """The least time that one item takes.

    Attributes:
        seconds: The roofline.
        by: ``compute`` or ``memory``, whichever binds.
    """

    seconds: float
    by: str


_T, _G = 1e12, 1e9


def _published(fp32: float, fp16: float, bandwidth: float, source: str) -> Peak:
    return Peak("", fp32 * _T, fp16 * _T, bandwidth * _G, source)


PUBLISHED: tuple[tuple[str, Peak], ...] = (
    ("A100.*SXM.*80GB", _published(19.5, 312, 2039, "NVIDIA A100 datasheet")),
    ("A100.*80GB PCIe", _published(19.5, 312, 1935, "NVIDIA A100 datasheet")),
    ("A100", _published(19.5, 312, 1555, "NVIDIA A100 datasheet, 40 GB")),
    ("A30", _published(10.3, 165, 933, "NVIDIA A30 datasheet")),
    ("A10", _published(31.2, 125, 600, "NVIDIA A10 datasheet")),
    ("H200", _published(67, 989, 4800, "NVIDIA H200 datasheet, without sparsity")),
    ("H100.*PCIE", _published(51, 756, 2000, "NVIDIA H100 datasheet, without sparsity")),
    ("H100.*NVL", _published(60, 835, 3900, "NVIDIA H100 datasheet, without sparsity")),
    ("H100", _published(67, 989, 3350, "NVIDIA H100 datasheet, SXM, without sparsity")),
    ("L40S", _published(91.6, 362, 864, "NVIDIA L40S datasheet, without sparsity")),
    ("L4", _published(30.3, 121, 300, "NVIDIA L4 datasheet, without sparsity")),
    ("T4", _published(8.1, 65, 320, "NVIDIA T4 datasheet")),
    ("RTX 4090", _published(82.6, 165.2, 1008, "NVIDIA Ada architecture paper")),
    ("RTX 3090", _published(35.6, 71, 936, "NVIDIA GA102 architecture paper")),
)
"""Peaks by a pattern of the GPU's name, the first that matches counts; dense, FP32 accumulated."""


def gpu_peak(name: str) -> Peak | None:
    """The published peak of a GPU, or None where it is not in the table or only a part of one."""
    if re.search(r"\bMIG\b", name):
        return None
    for pattern, peak in PUBLISHED:
        if re.search(rf"\b{pattern}\b", name, re.IGNORECASE):
            return Peak(name, peak.fp32, peak.fp16, peak.bandwidth, peak.source)
    return None


def cpu_peak(name: str, threads: int) -> Peak:
    """The rates that this machine's processors reach, measured with numpy.

    Args:
        name: What to call them.
        threads: Threads that the networks will use; as many compute and copy here at once.
    """
    rate = _measured_gemm(threads)
    return Peak(
        f"{name}, {threads} thread{'s' if threads != 1 else ''}",
        fp32=rate,
        # CPUs without half-precision units compute FP16 files in FP32.
        fp16=rate,
        bandwidth=_measured_bandwidth(threads),
        source="measured here: numpy's FP32 product and memory copy",
    )


def bound(cost: NetworkCost, peak: Peak, *, precision: str, batch: int) -> Bound:
    """The roofline of one item in a batch.

    Args:
        cost: What one item asks for.
        peak: What the processor gives.
        precision: Which precision computes.
        batch: Items that share one reading of the weights.
    """
    compute = cost.operations / peak.compute(precision)
    memory = (cost.weight_bytes / batch + cost.item_bytes) / peak.bandwidth
    return Bound(max(compute, memory), "compute" if compute >= memory else "memory")


def _measured_gemm(threads: int) -> float:
    generator = np.random.default_rng(0)

    def product() -> Callable[[], object]:
        left = generator.standard_normal((_GEMM_SIZE, _GEMM_SIZE), dtype=np.float32)
        right, result = left.T.copy(), np.empty_like(left)
        return lambda: np.matmul(left, right, out=result)

    return 2.0 * _GEMM_SIZE**3 * _best_rate([product() for _ in range(threads)])


def _measured_bandwidth(threads: int) -> float:
    def copy() -> Callable[[], object]:
        source = np.ones(_COPY_BYTES, np.uint8)
        target = np.empty_like(source)
        return lambda: np.copyto(target, source)

    # A copy reads and writes each byte.
    return 2.0 * _COPY_BYTES * _best_rate([copy() for _ in range(threads)])


def _best_rate(works: list[Callable[[], object]]) -> float:
    """Runs a second, all together, in the best of a few short spells."""

    def count(work: Callable[[], object], ends: float) -> float:
        started, runs = time.perf_counter(), 0
        while not runs or time.perf_counter() < ends:
            work()
            runs += 1
        return runs / (time.perf_counter() - started)

    best = 0.0
    with ThreadPoolExecutor(len(works)) as pool:
        for _ in range(_SPELLS + 1):  # The first one also warms up.
            ends = time.perf_counter() + _SPELL
            best = max(best, sum(pool.map(count, works, repeat(ends))))
    return best
