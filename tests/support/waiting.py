"""Waiting for what another process or thread does in its own time."""

from __future__ import annotations

import time
from collections.abc import Callable

_PAUSE = 0.01


def eventually(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    """Return as soon as a condition holds.

    Raises:
        AssertionError: It does not hold in time.
    """
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"does not hold after {seconds:g} s"
        time.sleep(_PAUSE)
