"""What a bench says: its measurements, and on what they were made."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vtloc_runtime.bench.roofline import Peak


@dataclass(frozen=True, slots=True)
class StageResult:
    """One measurement.

    Attributes:
        stage: What ran, such as ``visual`` or ``whole``.
        shape: With which lengths.
        item: What is counted: frame, sentence, answer, video s.
        rate: Items a second.
        p50: Median latency of a run, milliseconds.
        p90: Its 90th percentile.
        p99: Its 99th percentile.
        runs: How many runs were timed.
        roofline: Items a second at best; None where the peak or the count is unknown.
        bound_by: ``compute`` or ``memory``, whichever binds the roofline.
    """

    stage: str
    shape: str
    item: str
    rate: float
    p50: float
    p90: float
    p99: float
    runs: int
    roofline: float | None = None
    bound_by: str = ""

    @property
    def share(self) -> float | None:
        """The rate as a share of the roofline."""
        return None if not self.roofline else self.rate / self.roofline


@dataclass(frozen=True, slots=True)
class BenchReport:
    """Everything that was measured, and on what.

    Attributes:
        bundle: The bundle's name.
        backend: What ran the networks.
        precision: In which precision.
        processor: What computed.
        callers: Threads that called at once.
        peak: Its rates; None where they are unknown.
        stages: The measurements.
        host_bytes: Most memory of this process, bytes.
        device_bytes: Memory on the GPU beside the weights, bytes; 0 on a CPU.
        video: The video that was used.
        notes: What was left out, and why.
    """

    bundle: str
    backend: str
    precision: str
    processor: str
    callers: int
    peak: Peak | None
    stages: tuple[StageResult, ...]
    host_bytes: int
    device_bytes: int
    video: str
    notes: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return asdict(self)
