"""Graceful Ctrl-C: the first finishes the videos in progress, the second stops at once."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, Self

from vtloc_runtime.cli.console.exit_codes import exit_code_of_signal

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SHOW_CURSOR = b"\x1b[?25h"


class Stopped(KeyboardInterrupt):
    """A signal asked to stop, and there is nothing to finish first.

    Args:
        number: The signal.
    """

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__()
        self.exit_code = exit_code_of_signal(number)


class Interruption:
    """Handles SIGINT, SIGTERM and SIGHUP inside a ``with`` block.

    The second signal ends the process at once, whatever its threads are in the middle of: the
    results file is made for that, and decoders end with their parent.

    Args:
        graceful: Whether the first signal only sets ``asked``; otherwise it raises ``Stopped``.

    Attributes:
        asked: Whether a signal asked to stop.
        exit_code: The exit code of a run that a signal stopped.
    """

    def __init__(self, *, graceful: bool) -> None:
        self.asked = False
        self.exit_code = exit_code_of_signal(signal.SIGINT)
        self._graceful = graceful
        self._heard = 0
        self._before: dict[int, Any] = {}
        self._wakeup = -1
        self._sockets: tuple[socket.socket, socket.socket] | None = None

    def __enter__(self) -> Self:
        # Only the main thread can handle signals.
        if threading.current_thread() is not threading.main_thread():
            return self
        here, there = self._sockets = socket.socketpair()
        there.setblocking(False)
        # Handlers run only between two steps of Python. The interpreter writes each signal's
        # number here at once, so that a long native call cannot keep the second from being heard.
        self._wakeup = signal.set_wakeup_fd(there.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._watch, args=(here,), name="signals", daemon=True).start()
        for number in _SIGNALS:
            # What is ignored stays ignored: nohup, or a shell's background job.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            # None is a handler that was not set by Python, and cannot be restored.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before = {}
        if self._sockets is not None:
            signal.set_wakeup_fd(self._wakeup)
            self._sockets[1].close()
            self._sockets = None

    def _watch(self, here: socket.socket) -> None:
        with here:
            while numbers := here.recv(64):
                for number in numbers:
                    if number in _SIGNALS:
                        self._count(number)

    def _count(self, number: int) -> None:
        self._heard += 1
        if self._heard == 1:
            self.exit_code = exit_code_of_signal(number)
            if self._graceful:
                _write("\nfinishing the videos in progress; press Ctrl-C again to stop at once\n")
            self.asked = True
        else:
            leave_at_once(exit_code_of_signal(number))

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        self.asked = True
        if not self._graceful:
            raise Stopped(number)


@contextlib.contextmanager
def leaving_at_once(text: str) -> Iterator[None]:
    """Let a signal end the process without waiting for its threads.

    For programs that have nothing to finish, and a thread that may wait without end.

    Args:
        text: Printed by then.
    """

    def leave(number: int, _frame: FrameType | None) -> None:
        _write(f"{text}\n")
        leave_at_once(exit_code_of_signal(number))

    before = {
        number: signal.signal(number, leave)
        for number in _SIGNALS
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave_at_once(code: int) -> None:
    """End the process without waiting for anything.

    Args:
        code: Its exit code.
    """
    with contextlib.suppress(OSError, ValueError, AttributeError):
        if sys.stderr.isatty():
            # A progress bar has hidden it.
            _write(_SHOW_CURSOR.decode())
    os._exit(code)


def _write(text: str) -> None:
    # The stream may be in the middle of a write of its own; the descriptor may be closed.
    with contextlib.suppress(OSError):
        os.write(2, text.encode())
