"""Ctrl-C: the first asks, the second stops; afterwards all is as before."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time

import pytest

from vtloc_runtime.cli.console import interrupts
from vtloc_runtime.cli.console.interrupts import Interruption, Stopped


def test_the_first_signal_asks_and_the_second_stops(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    left: queue.Queue[int] = queue.Queue()
    monkeypatch.setattr(interrupts, "leave_at_once", left.put)
    with Interruption(graceful=True) as interruption:
        quiet = interruption.asked
        assert not quiet
        os.kill(os.getpid(), signal.SIGTERM)
        assert interruption.asked
        with pytest.raises(queue.Empty):
            left.get(timeout=0.2)
        assert interruption.exit_code == 143
        assert "press Ctrl-C again to stop at once" in capfd.readouterr().err
        os.kill(os.getpid(), signal.SIGINT)
        assert left.get(timeout=60) == 130


def test_the_second_signal_is_heard_inside_native_code() -> None:
    program = (
        "import hashlib, sys\n"
        "from vtloc_runtime.cli.console.interrupts import Interruption\n"
        "with Interruption(graceful=True):\n"
        "    print('ready', flush=True)\n"
        "    hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    for _ in range(2):
        time.sleep(0.2)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 130
    assert complaint.count(b"Ctrl-C again") == 1


def test_where_nothing_can_go_on_the_first_signal_stops() -> None:
    with Interruption(graceful=False), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


def test_a_stop_knows_its_exit_code() -> None:
    with pytest.raises(Stopped) as caught, Interruption(graceful=False):
        os.kill(os.getpid(), signal.SIGTERM)
    assert caught.value.exit_code == 143


def test_handlers_that_python_did_not_set_and_ignored_signals_are_no_trouble(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    real = signal.signal
    monkeypatch.setattr(signal, "signal", lambda *a: real(*a) and None)
    try:
        with Interruption(graceful=True):
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        real(signal.SIGINT, signal.default_int_handler)
        real(signal.SIGHUP, before)


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interruption(graceful=True):
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before


def test_other_threads_leave_signals_alone() -> None:
    asked: list[bool] = []

    def work() -> None:
        with Interruption(graceful=True) as interruption:
            asked.append(interruption.asked)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert asked == [False]
