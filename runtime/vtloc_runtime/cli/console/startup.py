"""A program's first moments, while it imports: a signal ends it with one line, as it does later.

This module imports next to nothing, because programs import it first.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def interruptible(program: str) -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP end the process at once; what is ignored stays ignored.

    An exception could be raised inside an import, where it becomes a traceback, or an error about
    the package.

    Args:
        program: The program's name, which starts the line.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, _frame: object) -> None:
        with suppress(OSError):
            os.write(2, f"{program}: stopped\n".encode())
        os._exit(128 + number)

    before = {}
    for number in _SIGNALS:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            before[number] = signal.signal(number, leave)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
