"""Counts how often each task was started, and refuses new tasks once the run stops."""

from __future__ import annotations

from collections import Counter


class StartCounter:
    """An actor on the driver's machine, so that it outlives every other machine.

    Ray restarts a task without end when its worker is lost. The count tells a video whose workers
    were lost by chance from a video that kills its workers.
    """

    def __init__(self) -> None:
        self._started: Counter[int] = Counter()
        self._closed = False

    def start(self, number: int) -> int:
        """Ask to start a task.

        Returns:
            How many times it has been started, this time included; 0 if it must not be started.
        """
        # A task that was started before is in flight: it is finished even if its worker was lost.
        if self._closed and number not in self._started:
            return 0
        self._started[number] += 1
        return self._started[number]

    def close(self) -> set[int]:
        """Start no new tasks.

        Returns:
            Every task that was started.
        """
        self._closed = True
        return set(self._started)
