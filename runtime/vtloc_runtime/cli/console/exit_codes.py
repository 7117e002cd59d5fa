"""Every exit code of the programs. Those of errors are in `vtloc_runtime.errors`."""

from __future__ import annotations

import signal
from collections import Counter

from vtloc_runtime.errors import VtlocError

SUCCESS = 0
SOME_FAILED = 1
INTERNAL_ERROR = 70
PIPE_CLOSED = 141


def exit_code_of_signal(number: int) -> int:
    """The exit code of a program that a signal ended: 130 for SIGINT, 143 for SIGTERM."""
    return 128 + number


INTERRUPTED = exit_code_of_signal(signal.SIGINT)


def exit_code_of_failures(failures: Counter[str], *, total: int) -> int:
    """The exit code of a run that finished.

    Args:
        failures: Number of tasks that failed, by kind of error.
        total: Number of tasks.

    Returns:
        0 if none failed, the error's own code if all failed alike, 1 otherwise.
    """
    if not failures:
        return SUCCESS
    if failures.total() < total or len(failures) > 1:
        return SOME_FAILED
    return exit_codes().get(next(iter(failures)), SOME_FAILED)


def exit_codes() -> dict[str, int]:
    """The exit code of every kind of error."""
    codes: dict[str, int] = {}
    families = [VtlocError]
    while families:
        family = families.pop()
        codes[family.kind] = family.exit_code
        families.extend(family.__subclasses__())
    return codes
