"""What the records of a run add up to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vtloc_runtime.batch.records import Record


@dataclass
class RunTally:
    """What a run's records add up to, without the records.

    Attributes:
        records: Their number.
        found: Sentences with a moment.
        failed: Sentences without an answer.
        kinds: Kinds of the failures.
    """

    records: int = 0
    found: int = 0
    failed: int = 0
    kinds: set[str] = field(default_factory=set)
    _videos: set[str] = field(default_factory=set)

    def add(self, record: Record) -> None:
        """Count one record."""
        self.records += 1
        self.found += bool(record.moments)
        self._videos.add(record.video)
        if record.error is not None:
            self.failed += 1
            self.kinds.add(record.error.kind)

    def exit_code(self, codes: dict[str, int]) -> int:
        """0 where all jobs were answered, a failure's own code where all failed alike, else 1.

        Args:
            codes: Exit code by kind of error.
        """
        if not self.failed:
            return 0
        if len(self.kinds) == 1 and self.failed == self.records:
            return codes.get(next(iter(self.kinds)), 1)
        return 1

    def __str__(self) -> str:
        """One line that says how the run went."""
        videos, absent = len(self._videos), self.records - self.found - self.failed
        parts = [f"{self.found} found"]
        parts += [f"{absent} with no such moment"] * (absent > 0)
        parts += [f"{self.failed} failed"] * (self.failed > 0)
        return (
            f"{videos} {'video' if videos == 1 else 'videos'}, {self.records} "
            f"{'sentence' if self.records == 1 else 'sentences'}: {', '.join(parts)}"
        )
