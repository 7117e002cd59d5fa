"""The report of a benchmark: its measurements, and the machine that they were made on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from vtloc_runtime.system.text import short_number


@dataclass(frozen=True, slots=True)
class RunShape:
    """The lengths of one run of a network.

    Attributes:
        batch: Frames, sentences, or pairs of a video and a sentence.
        frames: Frames of the video; 0 for networks that see none.
        tokens: Tokens of the sentence; 0 for networks that see none.
    """

    batch: int
    frames: int = 0
    tokens: int = 0

    def __str__(self) -> str:
        lengths = {"batch": self.batch, "frames": self.frames, "tokens": self.tokens}
        return ", ".join(f"{axis} {length}" for axis, length in lengths.items() if length)


@dataclass(frozen=True, slots=True)
class StageResult:
    """One measurement.

    Attributes:
        stage: The stage, such as ``visual`` or ``whole``.
        shape: The lengths, for people.
        item: What ``rate`` counts: frame, sentence, answer, video s.
        rate: Items per second.
        p50: Median latency of a run, milliseconds.
        p90: 90th percentile of the latency, milliseconds.
        p99: 99th percentile of the latency, milliseconds.
        runs: Number of runs.
        precision: The network's precision; empty for other stages.
        run_shape: The network's lengths; None for other stages.
        processor_seconds: Processor time for a minute of video, seconds; None for stages that are
            not about a video's length.
    """

    stage: str
    shape: str
    item: str
    rate: float
    p50: float
    p90: float
    p99: float
    runs: int
    precision: str = ""
    run_shape: RunShape | None = None
    processor_seconds: float | None = None

    @classmethod
    def summarize(
        cls,
        stage: str,
        shape: str,
        item: str,
        latencies: list[float],
        *,
        rate: float,
        precision: str = "",
        run_shape: RunShape | None = None,
        processor_seconds: float | None = None,
    ) -> Self:
        """Summarize latencies, in seconds, into a measurement."""
        p50, p90, p99 = map(float, np.percentile(np.array(latencies) * 1000, (50, 90, 99)))
        return cls(
            stage,
            shape,
            item,
            rate,
            p50,
            p90,
            p99,
            len(latencies),
            precision,
            run_shape,
            processor_seconds,
        )


@dataclass(frozen=True, slots=True)
class BenchReport:
    """All measurements, and the machine that they were made on.

    Attributes:
        bundle: The bundle's name.
        backend: The backend and its device.
        precision: The precisions of the networks.
        processor: The name of the CPU or GPU.
        callers: Threads that called at the same time.
        stages: The measurements.
        host_bytes: Peak memory of this process, bytes.
        device_bytes: Memory on the GPU besides the weights, bytes; 0 on a CPU.
        video: The video that was used.
    """

    bundle: str
    backend: str
    precision: str
    processor: str
    callers: int
    stages: tuple[StageResult, ...]
    host_bytes: int
    device_bytes: int
    video: str

    @property
    def title(self) -> str:
        """One line that names what was measured, and where."""
        callers = "" if self.callers == 1 else f", {self.callers} callers"
        return f"{self.bundle}: {self.backend} {self.precision} on {self.processor}{callers}"

    @property
    def caption(self) -> str:
        """One line with the speed, the memory and the video."""
        memory = f"Memory: {self.host_bytes / 1e6:,.0f} MB of this process"
        if self.device_bytes:
            memory += f", {self.device_bytes / 1e6:,.0f} MB on the GPU besides the weights"
        return f"{self._speed}{memory}. Video: {self.video}."

    @property
    def _speed(self) -> str:
        whole = next((stage for stage in self.stages if stage.stage == "whole"), None)
        if whole is None or whole.processor_seconds is None:
            return ""
        return (
            f"The whole: {short_number(whole.rate)} hours of video an hour, "
            f"{short_number(whole.processor_seconds)} processor seconds a minute of video. "
        )

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return asdict(self)
