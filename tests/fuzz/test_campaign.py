"""The harness finds what it looks for."""

from __future__ import annotations

import collections
import ctypes
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from tests.fuzz.campaign import Campaign, fuzz
from tests.fuzz.target import Input, Target
from vtloc_runtime.errors import VideoError


class Faulty(Target):
    """Does what its input says."""

    name = "faulty"
    count = 0

    def good(self) -> Sequence[Input]:
        return (Input(b"nothing"),)

    def make(self, chance: Random) -> Input:
        return Input(chance.randbytes(8))

    def run(self, given: Input) -> None:
        acts = {
            b"nothing": lambda: None,
            b"refuse": self._refuse,
            b"escape": [].pop,
            b"exit": lambda: (_ for _ in ()).throw(SystemExit(3)),
            b"crash": lambda: ctypes.string_at(0),
            b"hang": lambda: time.sleep(600),
            b"swell": lambda: bytearray(400 * 10**6),
            b"open": lambda: Path("/etc/hostname").open().close(),
            b"connect": lambda: socket.create_connection(("127.0.0.1", 9), 0.1),
        }
        acts.get(given.content, lambda: None)()

    def _refuse(self) -> None:
        raise VideoError("is damaged")


def run(*contents: bytes) -> Campaign:
    asked = [Input(content) for content in contents]
    # On a busy machine all but the one that sleeps may take their time.
    hang = 3 if b"hang" in contents else 60
    (seen,) = collections.deque(fuzz(Faulty, asked, hang=hang), maxlen=1)
    return seen


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"escape", "escaped"),
        (b"exit", "escaped"),
        (b"crash", "crash"),
        (b"hang", "hang"),
        (b"swell", "large"),
        (b"open", "touched"),
        (b"connect", "touched"),
    ],
)
def test_each_kind_of_fault_is_found(content: bytes, kind: str) -> None:
    seen = run(content, b"nothing", b"refuse")
    assert [(one.kind, one.given.content) for one in seen.findings] == [(kind, content)]
    # A worker that was lost is replaced.
    assert (seen.counts["accepted"], seen.counts["refused"]) == (1, 1)


def test_time_and_memory_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzz.campaign.SLOWEST", 0.0)
    assert [one.kind for one in run(b"nothing").findings] == ["slow"]
