"""Clips and facts from a decoder that is not trusted: checked, counted, and never believed."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import pytest

from vtloc_runtime.errors import VideoError
from vtloc_runtime.video.isolation import delivery
from vtloc_runtime.video.isolation.channel import DeadlineError, NonsenseError
from vtloc_runtime.video.isolation.delivery import Delivery
from vtloc_runtime.video.isolation.messages import (
    ClipEnd,
    End,
    Facts,
    Message,
    Piece,
    Ready,
    Refusal,
)

FACTS = Facts((30000, 1001), 12.5, 1920, 1080, sound=True, timecode="01:00:00;00")


class Line:
    """A channel whose other end says what a test wants."""

    def __init__(self, messages: Iterable[Message]) -> None:
        self._messages = iter(messages)

    def receive(self, number: int, deadline: Any) -> Message:
        deadline.left()
        return next(self._messages)

    def receive_into(self, room: memoryview, deadline: Any) -> None:
        deadline.left()
        room[:] = bytes([7]) * len(room)


def told(*messages: Message, timeout: float = 10.0, wall: float = 10.0) -> Delivery:
    line: Any = Line(messages)
    begun = time.monotonic()
    return Delivery(line, 1, name="film.mp4", timeout=timeout, wall=wall, begun=begun)


def test_plausible_facts_are_taken() -> None:
    answer = told(FACTS)
    facts = answer.facts()
    assert (facts.path, facts.timecode) == ("film.mp4", "01:00:00;00")
    assert facts.rate == Fraction(30000, 1001)
    assert answer.over


@pytest.mark.parametrize(
    "message",
    [
        Facts((1, 0), 1.0, 8, 8, sound=True, timecode=""),
        Facts((-25, 1), 1.0, 8, 8, sound=True, timecode=""),
        Facts((10**9, 1), 1.0, 8, 8, sound=True, timecode=""),
        Facts((10**30, 10**29), 1.0, 8, 8, sound=True, timecode=""),
        Facts((25, 1), -1.0, 8, 8, sound=True, timecode=""),
        Facts((25, 1), float("nan"), 8, 8, sound=True, timecode=""),
        Facts((25, 1), float("inf"), 8, 8, sound=True, timecode=""),
        Facts((25, 1), 1.0, -8, 8, sound=True, timecode=""),
        Facts((25, 1), 1.0, 8, 2**40, sound=True, timecode=""),
        Facts((25, 1), 1.0, 8, 8, sound=True, timecode="x" * 1000),
        Ready({}, {}),
        End(1.0, [], near_limit=False),
        Piece(4),
    ],
)
def test_impossible_facts_are_not(message: Message) -> None:
    answer = told(message)
    with pytest.raises(NonsenseError):
        answer.facts()
    assert answer.heard


def test_a_clip_is_its_pieces() -> None:
    answer = told(Piece(3), Piece(2), ClipEnd(1.0, 2.0))
    clip = answer.clip()
    assert (clip.content, clip.start, clip.end) == (b"\7" * 5, 1.0, 2.0)
    assert answer.over


@pytest.mark.parametrize(
    "messages",
    [
        [Piece(0)],
        [Piece(-1)],
        [Piece(2**20 + 1)],
        [ClipEnd(1.0, 2.0)],
        [Piece(1), ClipEnd(2.0, 1.0)],
        [Piece(1), ClipEnd(float("nan"), 1.0)],
        [Piece(1), ClipEnd(0.0, float("inf"))],
        [Piece(1), Ready({}, {})],
        [FACTS],
    ],
)
def test_a_clip_that_no_decoder_sends_is_refused(messages: list[Message]) -> None:
    with pytest.raises(NonsenseError):
        told(*messages).clip()


def test_a_clip_without_end_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "LARGEST_CLIP", 10_000)
    with pytest.raises(NonsenseError, match="more than 10000 bytes"):
        told(*itertools.repeat(Piece(1000), 20)).clip()


def test_a_clip_that_never_ends_is_given_up() -> None:
    answer = told(*itertools.repeat(Piece(1), 10), wall=-1.0)
    with pytest.raises(DeadlineError):
        answer.clip()
    assert "takes more than" in str(answer.late())


def test_a_refusal_is_the_film_s_error_in_printable_words() -> None:
    answer = told(Refusal("bad\x1b[31m", "repair it", near_limit=False))
    with pytest.raises(VideoError, match=r"bad\uFFFD.*repair it") as caught:
        answer.clip()
    assert caught.value.where == "film.mp4"
    assert answer.over
