"""Ctrl-C with care: the first finishes what is in flight, the second stops at once."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Listens for SIGINT and SIGTERM inside its ``with`` block.

    Args:
        graceful: Whether the first signal only asks to stop; otherwise it stops at once.

    Attributes:
        asked: Whether someone asked to stop.
    """

    def __init__(self, *, graceful: bool) -> None:
        self.asked = False
        self._graceful = graceful
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        # Only the main thread may listen; elsewhere the program around it does.
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._hear) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, _number: int, _frame: FrameType | None) -> None:
        if not self._graceful or self.asked:
            raise KeyboardInterrupt
        self.asked = True
        sys.stderr.write("\nfinishing what is in flight; once more stops at once\n")
