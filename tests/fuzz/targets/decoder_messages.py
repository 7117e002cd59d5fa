"""What a decoder that was taken over may send to its parent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import numpy as np

from tests.fuzz.mutation import NASTY_VALUES, mutate_bytes, mutate_json
from tests.fuzz.target import Input, Target
from tests.support.colours import SIZE
from tests.support.hostile_decoder import OPTIONS, PICTURE, HostileDecoder, taken_over
from vtloc_runtime.video.isolation.chunks import FrameChunk, ReadingEnd
from vtloc_runtime.video.isolation.decoder_process import DecoderLimits, DecoderProcess
from vtloc_runtime.video.isolation.messages import HEADER

_TIMEOUT = 0.5
_CHUNK = 4
_SUFFIXES = (".closed",) * 9 + (".silent",)
_TIMES = (0.0, 1.0, 1.5, 7.25, 999.0, 1001.0, -1.0, float("nan"), float("inf"), 1e308)
_COUNTS = (1, 2, 50, 100, 101, 0, -1, 2**31, 2**62)


def _said(message: Any, after: bytes = b"", *, number: int = 1) -> bytes:
    body = message if isinstance(message, bytes) else msgspec.msgpack.encode(message)
    return HEADER.pack(number, len(body)) + body + after


def _end(duration: float, warnings: Sequence[Any] = ()) -> dict[str, Any]:
    return {"type": "end", "duration": duration, "warnings": list(warnings), "near_limit": False}


_GOOD = (
    _said({"type": "picture", "time": 0.0}, PICTURE)
    + _said({"type": "again", "time": 1.0, "count": 3})
    + _said({"type": "picture", "time": 7.25}, PICTURE[::-1])
    + _said(_end(9.5, ["a packet is damaged"]))
)


class DecoderMessages(Target):
    """A stream of bytes, after which the line closes or nothing more comes."""

    name = "decoder-messages"
    count = 200

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (folder / "film.mp4").write_bytes(b"any")

    def good(self) -> Sequence[Input]:
        return (Input(_GOOD, ".closed"),)

    def known(self) -> Mapping[str, Input]:
        return {
            "nothing": Input(b"", ".closed"),
            "silence": Input(b"", ".silent"),
            "half a picture, then silence": Input(_GOOD[:1000], ".silent"),
            "half a picture, then the end": Input(_GOOD[:1000], ".closed"),
        }

    def make(self, chance: Random) -> Input:
        content = _GOOD if chance.random() < 0.3 else b"".join(_conversation(chance))
        if chance.random() < 0.5:
            content = mutate_bytes(chance, content, marks=(b"type", b"time", b"count", b"warnings"))
        return Input(content, chance.choice(_SUFFIXES))

    def run(self, given: Input) -> None:
        def talk(decoder: HostileDecoder) -> None:
            decoder.raw(given.content)
            if given.suffix == ".silent":
                decoder.end.wait(30)
            decoder.line.close()

        with taken_over(talk), DecoderProcess(DecoderLimits(timeout=_TIMEOUT)) as decoder:
            _check(list(decoder.read(str(self.folder / "film.mp4"), OPTIONS, _CHUNK)))


def _conversation(chance: Random) -> list[bytes]:
    """Messages that mostly make sense, in an order that may."""
    said, seconds = [], 0.0
    for _ in range(chance.randrange(1, 12)):
        odd = chance.random() < 0.15
        seconds = chance.choice(_TIMES) if odd else seconds + chance.choice((0.0, 0.5, 2.0))
        message: Any
        after = b""
        kind = chance.randrange(8)
        if kind < 4:
            message = {"type": "picture", "time": seconds}
            after = PICTURE if chance.random() < 0.95 else PICTURE[: chance.randrange(len(PICTURE))]
        elif kind < 6:
            count = chance.choice(_COUNTS if odd else (1, 2, 5))
            message = {"type": "again", "time": seconds, "count": count}
        elif kind == 6:
            message = {"type": "refusal", "what": "is damaged", "remedy": None, "near_limit": False}
        else:
            message = {"type": "ready", "held": {}, "missing": {}}
        if chance.random() < 0.1:
            message = mutate_json(chance, message)
        said.append(_packed(chance, message, after))
    warnings = [chance.choice(NASTY_VALUES) for _ in range(chance.choice((0, 0, 1, 33, 1000)))]
    said.append(_packed(chance, _end(chance.choice((seconds, seconds + 1, *_TIMES)), warnings)))
    return said


def _packed(chance: Random, message: Any, after: bytes = b"") -> bytes:
    try:
        body = msgspec.msgpack.encode(message)
    except (OverflowError, UnicodeEncodeError):
        # MessagePack has no number above 2^64, and no half of a surrogate pair.
        body = chance.randbytes(20)
    return _said(body, after, number=1 if chance.random() < 0.97 else chance.getrandbits(64))


def _check(parts: list[FrameChunk | ReadingEnd]) -> None:
    """Whatever was believed is a video."""
    *chunks, end = parts
    assert isinstance(end, ReadingEnd)
    last, frames = 0.0, 0
    for chunk in chunks:
        assert isinstance(chunk, FrameChunk)
        assert chunk.images.shape[1:] == (SIZE, SIZE, 3)
        assert 1 <= len(chunk.images) <= _CHUNK
        assert len(chunk.times) == len(chunk.index)
        assert (np.diff(chunk.index) >= 0).all()
        assert (np.diff(chunk.index) <= 1).all()
        assert chunk.index[0] == 0
        assert chunk.index[-1] == len(chunk.images) - 1
        assert last <= chunk.times[0]
        assert (np.diff(chunk.times) >= 0).all()
        last, frames = float(chunk.times[-1]), frames + len(chunk.times)
    assert last <= end.duration < float("inf")
    assert frames <= OPTIONS.limits.frames
    assert len(end.warnings) <= 33
    assert all(isinstance(one, str) and one.isprintable() for one in end.warnings)
