"""A decoder that was taken over, and says whatever it likes to its parent."""

from __future__ import annotations

import os
import pickle
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from subprocess import Popen
from typing import Any, cast
from unittest.mock import patch

import msgspec

from tests.support.colours import SIZE
from vtloc_runtime.bundle.manifest import Preprocessing
from vtloc_runtime.video import Limits, VideoOptions
from vtloc_runtime.video.isolation import decoder_process
from vtloc_runtime.video.isolation.launch import Child
from vtloc_runtime.video.isolation.messages import HEADER, REQUEST

OPTIONS = VideoOptions(
    preprocessing=Preprocessing(size=SIZE), limits=Limits(frames=100, seconds=1000)
)
PICTURE = bytes(SIZE * SIZE * 3)
Talk = Callable[["HostileDecoder"], object]


class FakeProcess:
    """What the parent knows of a process."""

    def __init__(self, end: threading.Event) -> None:
        self._end = end

    def poll(self) -> int | None:
        return -9 if self._end.is_set() else None

    def kill(self) -> None:
        self._end.set()

    def wait(self, timeout: float | None = None) -> int:
        return 0


class HostileDecoder:
    """The child's end of the line, after a takeover."""

    def __init__(self, line: socket.socket, end: threading.Event) -> None:
        self.line = line
        self.end = end
        self.number = 0

    def hear(self) -> bool:
        header = b""
        while len(header) < REQUEST.size:
            got = self.line.recv(REQUEST.size - len(header))
            if not got:
                return False
            header += got
        self.number, length = REQUEST.unpack(header)
        while length:
            length -= len(self.line.recv(length))
        return True

    def say(self, message: Any, *, number: int | None = None, length: int | None = None) -> None:
        body = message if isinstance(message, bytes) else msgspec.msgpack.encode(message)
        told = self.number if number is None else number
        self.raw(HEADER.pack(told, len(body) if length is None else length) + body)

    def raw(self, content: bytes) -> None:
        self.line.sendall(content)

    def picture(self, time: float, content: bytes = PICTURE) -> None:
        self.say({"type": "picture", "time": time})
        self.raw(content)

    def again(self, time: float, count: int) -> None:
        self.say({"type": "again", "time": time, "count": count})

    def finish(self, duration: float = 1.0, warnings: Any = (), **other: Any) -> None:
        said = {"type": "end", "duration": duration, "warnings": warnings, "near_limit": False}
        self.say({**said, **other})

    def refuse(self, what: str, remedy: str | None = None) -> None:
        self.say({"type": "refusal", "what": what, "remedy": remedy, "near_limit": False})

    def trickle(self, content: bytes) -> None:
        for byte in content:
            self.raw(bytes([byte]))
            if self.end.wait(0.05):
                return


class _Mark:
    def __reduce__(self) -> Any:
        return (os.mkdir, ("unpickled",))


CONVERSATIONS: dict[str, Talk] = {
    "silence": lambda d: d.end.wait(20),
    "half a header": lambda d: (d.raw(b"\0\0\0"), d.end.wait(20)),
    "half a message": lambda d: (d.say(b"abc", length=100), d.end.wait(20)),
    "half a picture": lambda d: (d.picture(0, PICTURE[:100]), d.end.wait(20)),
    "a byte now and then": lambda d: d.trickle(HEADER.pack(d.number, 1000) + bytes(1000)),
    "a picture byte by byte": lambda d: (d.picture(0, b""), d.trickle(PICTURE)),
    "a message of 4 GiB": lambda d: d.say(b"", length=2**32 - 1),
    "another request": lambda d: d.say({"type": "picture", "time": 0.0}, number=d.number + 1),
    "an earlier request": lambda d: d.say({"type": "picture", "time": 0.0}, number=0),
    "another picture size": lambda d: (d.picture(0, bytes(48)), d.finish()),
    "no type": lambda d: d.say([1, 2, 3]),
    "unknown type": lambda d: d.say({"type": "chunk", "shape": [1, 2**32, 2**32, 3]}),
    "not MessagePack": lambda d: d.say(b"\xc1\xc1"),
    "deep nesting": lambda d: d.say(b"\x91" * 60_000),
    "text that is not UTF-8": lambda d: d.say(
        msgspec.msgpack.encode(
            {"type": "refusal", "what": "x", "remedy": None, "near_limit": False}
        ).replace(b"\xa1x", b"\xa1\xff")
    ),
    "a pickle": lambda d: d.say(pickle.dumps(_Mark())),
    "ready again": lambda d: d.say({"type": "ready", "held": {}, "missing": {}}),
    "time that is no number": lambda d: d.picture(float("nan")),
    "time without end": lambda d: d.picture(float("inf")),
    "negative time": lambda d: d.picture(-10),
    "time beyond the limit": lambda d: d.picture(1001),
    "time as text": lambda d: d.say({"type": "picture", "time": "0"}),
    "falling times": lambda d: (d.picture(3), d.picture(1)),
    "falling repeats": lambda d: (d.picture(3), d.again(1, 1)),
    "duration that is no number": lambda d: (d.picture(0), d.finish(float("nan"))),
    "duration without end": lambda d: (d.picture(0), d.finish(float("inf"))),
    "negative duration": lambda d: (d.picture(0), d.finish(-5)),
    "an end before the last frame": lambda d: (d.picture(3), d.finish(2)),
    "a repeat of nothing": lambda d: d.again(0, 1),
    "repeats without end": lambda d: (d.picture(0), d.again(0, 2**62)),
    "a repeat beyond 64 bits": lambda d: d.say(b"\x83\xa4type\xa5again\xa4time\x00\xa5count\xd9"),
    "no repeat": lambda d: (d.picture(0), d.again(0, 0)),
    "fewer than no repeats": lambda d: (d.picture(0), d.again(0, -5)),
    "frames without end": lambda d: [d.picture(0) for _ in range(2000)],
    "repeats one by one": lambda d: (d.picture(0), [d.again(0, 1) for _ in range(2000)]),
    "warnings without end": lambda d: (d.picture(0), d.finish(1, ["x"] * 1000)),
    "a long warning": lambda d: (d.picture(0), d.finish(1, ["x" * 10_000])),
    "a warning that is no text": lambda d: (d.picture(0), d.finish(1, [b"x"])),
    "keyframes that do not come": lambda d: (d.picture(0), d.finish(1, keyframes=3)),
    "keyframes without end": lambda d: (d.picture(0), d.finish(1, keyframes=2**40)),
    "pictures that come every minus second": lambda d: (d.picture(0), d.finish(1, period=-1)),
    "pictures that never come": lambda d: (d.picture(0), d.finish(1, period=float("inf"))),
    "pictures that come at no time": lambda d: (d.picture(0), d.finish(1, period=float("nan"))),
    "fewer than no keyframes": lambda d: (d.picture(0), d.finish(1, keyframes=-1)),
    "hidden cuts that do not come": lambda d: (d.picture(0), d.finish(1, hidden_cuts=3)),
    "hidden cuts without end": lambda d: (d.picture(0), d.finish(1, hidden_cuts=2**40)),
    "fewer than no hidden cuts": lambda d: (d.picture(0), d.finish(1, hidden_cuts=-1)),
    "a long reason": lambda d: d.refuse("x" * 10_000),
    "the end of the line": lambda d: d.line.shutdown(socket.SHUT_RDWR),
}


@contextmanager
def taken_over(talk: Talk, ready: Any = None) -> Iterator[None]:
    """Have every decoder that is started in the block behave as a conversation says.

    Args:
        talk: What it does for each video.
        ready: What it says first; None says what it should.
    """
    threads: list[threading.Thread] = []
    ends: list[threading.Event] = []

    def start(_memory: int, *, gpu: bool) -> Child:
        here, there = socket.socketpair()
        words, mouth = os.pipe()
        end = threading.Event()
        decoder = HostileDecoder(there, end)

        def run() -> None:
            try:
                decoder.say(ready or {"type": "ready", "held": {}, "missing": {}})
                while decoder.hear():
                    talk(decoder)
            except OSError:
                pass
            finally:
                there.close()
                os.close(mouth)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        threads.append(thread)
        ends.append(end)
        return Child(cast("Popen[bytes]", FakeProcess(end)), here, words)

    with patch.object(decoder_process, "start_child", start):
        try:
            yield
        finally:
            for end in ends:
                end.set()
            for thread in threads:
                thread.join(timeout=10)
                assert not thread.is_alive()
