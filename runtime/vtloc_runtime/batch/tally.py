"""The totals of a run's records."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vtloc_runtime.batch.records import Record


@dataclass
class RunTally:
    """The totals of a run's records.

    Attributes:
        records: Number of records.
        found: Number of sentences with a moment.
        failures: Number of sentences that failed, by kind of error.
    """

    records: int = 0
    found: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    _videos: set[str] = field(default_factory=set)

    def add(self, record: Record) -> None:
        """Count one record."""
        self.records += 1
        self.found += bool(record.moments)
        self._videos.add(record.video)
        if record.error is not None:
            self.failures[record.error.kind] += 1

    @property
    def failed(self) -> int:
        """Number of sentences that failed."""
        return self.failures.total()

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
