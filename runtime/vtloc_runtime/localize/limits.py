"""What can be asked of a localizer: bounds of its options."""

from __future__ import annotations

import numbers

from vtloc_runtime.errors import UsageError
from vtloc_runtime.system.arguments import check_real, check_text, check_whole

MOST_THREADS = 4096
LARGEST_BATCH = 65_536
_MOST_KEPT = 10**9
_LONGEST_RUN = 10.0**6
MOST_MOMENTS = 100
"""Moments of one sentence that can be asked for."""


def check_numbers(
    *, threads: object, batch: object, reuse: object, kept: object, timeout: object
) -> None:
    """Refuse numbers that a localizer cannot be opened with.

    Raises:
        UsageError: One is not a number, or out of range; the message names it.
    """
    if threads is not None:
        check_whole(threads, "threads", least=1, most=MOST_THREADS)
    if batch is not None:
        check_whole(batch, "batch", least=1, most=LARGEST_BATCH)
    check_real(reuse, "reuse", least=0, most=255)
    check_whole(kept, "kept_sentences", least=0, most=_MOST_KEPT)
    check_real(timeout, "run_timeout", least=0.001, most=_LONGEST_RUN)


def check_names(**names: object) -> None:
    """Refuse names that are not text; None is left to the default.

    Raises:
        UsageError: One is something else; the message names it.
    """
    for option, text in names.items():
        if text is not None and not check_text(text, option):
            raise UsageError(f"{option} is empty")


def check_moments(moments: object) -> int:
    """How many moments of one sentence are wanted, checked.

    Raises:
        UsageError: It is not a whole number from 1 to ``MOST_MOMENTS``.
    """
    if isinstance(moments, numbers.Integral) and not 1 <= int(moments) <= MOST_MOMENTS:
        raise UsageError(
            f"{moments} moments cannot be found", remedy=f"Ask for 1 to {MOST_MOMENTS}"
        )
    return check_whole(moments, "moments", least=1, most=MOST_MOMENTS)
