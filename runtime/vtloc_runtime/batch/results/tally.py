"""The totals of a run's records."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vtloc_runtime.system.text import short_number

if TYPE_CHECKING:
    from vtloc_runtime.batch.results.records import Record


@dataclass
class RunTally:
    """The totals of a run's records.

    Attributes:
        records: Number of records.
        found: Number of sentences with a moment.
        failures: Number of sentences that failed, by kind of error.
        seconds: Length of the videos that this run has answered, seconds.
    """

    records: int = 0
    found: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    _videos: set[str] = field(default_factory=set)
    _began: float = field(default_factory=time.monotonic)

    def add(self, record: Record, *, earlier: bool = False) -> None:
        """Count one record.

        Args:
            record: The record.
            earlier: An earlier run has made it.
        """
        self.records += 1
        self.found += bool(record.moments)
        if not earlier and record.video not in self._videos:
            self.seconds += record.duration or 0.0
        self._videos.add(record.video)
        if record.error is not None:
            self.failures[record.error.kind] += 1

    @property
    def failed(self) -> int:
        """Number of sentences that failed."""
        return self.failures.total()

    @property
    def speed(self) -> str:
        """How fast the run was: ``"; 45 hours of video an hour"``; empty if it read none."""
        return speed_of(self.seconds, time.monotonic() - self._began)

    def __str__(self) -> str:
        """One line that sums up the run."""
        videos, absent = len(self._videos), self.records - self.found - self.failed
        parts = [f"{self.found} found"]
        parts += [f"{absent} with no such moment"] * (absent > 0)
        parts += [f"{self.failed} failed"] * (self.failed > 0)
        return (
            f"{videos} {'video' if videos == 1 else 'videos'}, {self.records} "
            f"{'sentence' if self.records == 1 else 'sentences'}: {', '.join(parts)}"
        )


def speed_of(video_seconds: float, seconds: float) -> str:
    """The end of a sentence that says how fast videos were processed; empty where none was.

    Args:
        video_seconds: Length of the videos.
        seconds: How long that took, by the wall's clock.
    """
    if video_seconds <= 0 or seconds <= 0:
        return ""
    return f"; {short_number(video_seconds / seconds)} hours of video an hour"
