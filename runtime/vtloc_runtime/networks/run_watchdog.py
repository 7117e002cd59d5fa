"""A watchdog that stops runs of a network that take too long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(eq=False, slots=True)
class _Watch:
    deadline: float
    stop: Callable[[], None]
    expired: bool = field(default=False)


class RunWatchdog:
    """Calls a function for each run that is still under way at its deadline.

    One thread watches any number of runs, and starts with the first.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._watched: set[_Watch] = set()
        self._next = float("inf")
        self._thread: threading.Thread | None = None

    @contextmanager
    def watch(self, seconds: float, stop: Callable[[], None]) -> Iterator[_Watch]:
        """Watch what runs inside the block.

        Args:
            seconds: How long it may take.
            stop: Called from another thread if it takes longer.

        Yields:
            A watch, whose ``expired`` says whether ``stop`` was called.
        """
        watch = _Watch(time.monotonic() + seconds, stop)
        with self._changed:
            self._watched.add(watch)
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="run watchdog", daemon=True)
                self._thread.start()
            elif watch.deadline < self._next:
                self._changed.notify()
        try:
            yield watch
        finally:
            with self._changed:
                self._watched.discard(watch)

    def _look(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                for watch in [one for one in self._watched if one.deadline <= now]:
                    self._watched.discard(watch)
                    watch.expired = True
                    watch.stop()
                self._next = min((one.deadline for one in self._watched), default=float("inf"))
                # Runs end long before their deadlines, so this thread hardly ever wakes.
                self._changed.wait(min(self._next - now, _LONGEST_SLEEP))


_LONGEST_SLEEP = 60.0
