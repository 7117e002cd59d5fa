"""The priority of the thread that encodes a film."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def kept_priority() -> Iterator[None]:
    """Give this thread back the scheduling that it came with.

    Where root runs it, SVT-AV1 makes the thread that opens an encoder a real-time one of the
    highest priority, and what it starts afterwards inherits that: on a machine with few processors
    everything else then waits for it, the kernel's own work included.
    """
    if not hasattr(os, "sched_setscheduler"):
        yield
        return
    policy, own = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, own)
