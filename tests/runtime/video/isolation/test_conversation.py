"""A decoder that was taken over: whatever it says, the reading ends in one error and in time."""

from __future__ import annotations

import os
import pickle
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from tests.support.colours import SIZE
from vtloc_runtime.bundle.manifest import Preprocessing
from vtloc_runtime.errors import BackendError, VideoError
from vtloc_runtime.video import Limits, VideoOptions
from vtloc_runtime.video.isolation import decoder_process
from vtloc_runtime.video.isolation.chunks import FrameChunk, ReadingEnd
from vtloc_runtime.video.isolation.decoder_process import DecoderLimits, DecoderProcess
from vtloc_runtime.video.isolation.launch import Child
from vtloc_runtime.video.isolation.messages import HEADER, REQUEST

OPTIONS = VideoOptions(
    preprocessing=Preprocessing(size=SIZE), limits=Limits(frames=100, seconds=1000)
)
PICTURE = bytes(SIZE * SIZE * 3)
TIMEOUT = 0.4


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


CONVERSATIONS: dict[str, Callable[[HostileDecoder], object]] = {
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
    "a long reason": lambda d: d.refuse("x" * 10_000),
    "the end of the line": lambda d: d.line.shutdown(socket.SHUT_RDWR),
}


@pytest.fixture
def take_over(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Has every decoder that is started from here on behave as a conversation says."""
    threads: list[threading.Thread] = []
    events: list[threading.Event] = []

    def arrange(talk: Callable[[HostileDecoder], object], ready: Any = None) -> None:
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
            events.append(end)
            return Child(FakeProcess(end), here, words)  # type: ignore[arg-type] - a double

        monkeypatch.setattr(decoder_process, "start_child", start)

    yield arrange
    for event in events:
        event.set()
    for thread in threads:
        thread.join(timeout=10)
        assert not thread.is_alive()


@pytest.fixture
def video(tmp_path: Path) -> str:
    (tmp_path / "film.mp4").write_bytes(b"any")
    return str(tmp_path / "film.mp4")


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_it_ends_in_one_error_and_in_time(
    name: str, take_over: Any, video: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    take_over(CONVERSATIONS[name])
    with DecoderProcess(DecoderLimits(timeout=TIMEOUT)) as decoder:
        began = time.monotonic()
        with pytest.raises(VideoError) as caught:
            list(decoder.read(video, OPTIONS, 4))
        assert time.monotonic() - began < 5
        assert caught.value.where == video
        assert len(str(caught.value)) < 1000
        # Nothing of that process is believed any more.
        assert decoder._process is None
    assert not (tmp_path / "unpickled").exists()


def test_an_honest_decoder_is_believed(take_over: Any, video: str) -> None:
    def talk(decoder: HostileDecoder) -> None:
        for number in range(6):
            decoder.picture(10.0 * number, bytes([number]) * len(PICTURE))
            decoder.again(10.0 * number, 9)
        decoder.finish(60.5, ["two packets\nare \x1b[31mdamaged"])

    take_over(talk)
    with DecoderProcess(DecoderLimits(timeout=5)) as decoder:
        for _ in range(2):
            parts = list(decoder.read(video, OPTIONS, 4))
            chunks = [part for part in parts if isinstance(part, FrameChunk)]
            frames = np.concatenate([chunk.images[chunk.index] for chunk in chunks])
            times = np.concatenate([chunk.times for chunk in chunks])
            assert frames[:, 0, 0, 0].tolist() == [number // 10 for number in range(60)]
            assert times.tolist() == [10.0 * (number // 10) for number in range(60)]
            assert all(len(chunk.images) <= 4 for chunk in chunks)
            # Each picture crosses once, and is held once in a chunk.
            assert [len(chunk.images) for chunk in chunks] == [4, 2]
            assert parts[-1] == ReadingEnd(60.5, ("two packets\ufffdare \ufffd[31mdamaged",))


def test_repeats_fill_several_chunks(take_over: Any, video: str) -> None:
    def talk(decoder: HostileDecoder) -> None:
        decoder.picture(0)
        decoder.again(0, 9999)
        decoder.finish(20_000)

    take_over(talk)
    options = VideoOptions(preprocessing=Preprocessing(size=SIZE))
    with DecoderProcess() as decoder:
        chunks = [part for part in decoder.read(video, options, 4) if isinstance(part, FrameChunk)]
    assert sum(len(chunk.times) for chunk in chunks) == 10_000
    assert all(len(chunk.images) == 1 and chunk.index.tolist()[0] == 0 for chunk in chunks)


def test_messages_left_over_from_one_video_end_the_next(take_over: Any, video: str) -> None:
    def talk(decoder: HostileDecoder) -> None:
        decoder.picture(0)
        decoder.finish(1)
        decoder.picture(0)

    take_over(talk)
    with DecoderProcess(DecoderLimits(timeout=5)) as decoder:
        list(decoder.read(video, OPTIONS, 4))
        with pytest.raises(VideoError, match="an answer to request 1 came for request 2"):
            list(decoder.read(video, OPTIONS, 4))
        assert list(decoder.read(video, OPTIONS, 4))


def test_the_deadline_counts_frames_and_not_chunks(take_over: Any, video: str) -> None:
    def talk(decoder: HostileDecoder) -> None:
        for number in range(10):
            decoder.picture(number)
            time.sleep(0.15)
        decoder.finish(10)

    take_over(talk)
    with DecoderProcess(DecoderLimits(timeout=1.0)) as decoder:
        assert len(list(decoder.read(video, OPTIONS, 64))) == 2


def test_the_time_of_whoever_takes_the_frames_is_not_the_decoders(
    take_over: Any, video: str
) -> None:
    def talk(decoder: HostileDecoder) -> None:
        for number in range(4):
            decoder.picture(number)
        decoder.finish(4)

    take_over(talk)
    with DecoderProcess(DecoderLimits(timeout=0.3)) as decoder:
        for _ in decoder.read(video, OPTIONS, 1):
            time.sleep(0.4)


def test_a_whole_video_may_take_so_long(take_over: Any, video: str) -> None:
    def talk(decoder: HostileDecoder) -> None:
        while not decoder.end.wait(0.05):
            decoder.picture(0)

    take_over(talk)
    with (
        DecoderProcess(DecoderLimits(timeout=60, video_timeout=0.5)) as decoder,
        pytest.raises(VideoError, match=r"takes more than 0\.5 s to read.*--video-timeout"),
    ):
        list(decoder.read(video, OPTIONS, 1))


def test_a_decoder_that_begins_with_nonsense_does_not_start(take_over: Any, video: str) -> None:
    take_over(lambda _: None, ready={"type": "end", "duration": 1, "warnings": []})
    with DecoderProcess() as decoder, pytest.raises(BackendError, match="does not start"):
        list(decoder.read(video, OPTIONS, 1))


def test_an_incomplete_sandbox_is_refused_where_it_is_required(take_over: Any, video: str) -> None:
    ready = {"type": "ready", "held": {"seccomp": ""}, "missing": {"landlock": "switched off"}}
    take_over(lambda d: (d.picture(0), d.finish()), ready=ready)
    with DecoderProcess() as decoder:
        assert list(decoder.read(video, OPTIONS, 1))
    with DecoderProcess(DecoderLimits(require_sandbox=True)) as decoder:
        for attempt in (lambda: list(decoder.read(video, OPTIONS, 1)), decoder.start):
            with pytest.raises(BackendError, match=r"without landlock \(switched off\)"):
                attempt()
