"""Moments as whole frames of films, which is what editors' formats hold."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import PurePath
from typing import TYPE_CHECKING
from urllib.parse import quote

from vtloc_runtime.errors import UsageError, VideoError
from vtloc_runtime.handover.captions import cue_text
from vtloc_runtime.system.text import plain

if TYPE_CHECKING:
    from vtloc_runtime.batch.results.records import Record
    from vtloc_runtime.video.film_facts import FilmFacts

_NTSC = Fraction(1000, 1001)
_CLOSE = Fraction(1, 200)
_FASTEST = 1000
_DROPPED = {30: 2, 60: 4}
"""Labels that drop-frame timecode leaves out each minute but every tenth, by nominal rate."""


@dataclass(frozen=True, slots=True)
class FrameRate:
    """Frames a second, exactly.

    Attributes:
        value: Such as ``Fraction(24000, 1001)``.
    """

    value: Fraction

    @classmethod
    def parse(cls, value: Fraction | float | str) -> FrameRate:
        """The exact rate that is meant: 23.976 and 29.97 are 24000/1001 and 30000/1001.

        Raises:
            UsageError: It is not a rate from 1 to 1,000.
        """
        try:
            given = Fraction(value)
        except (ValueError, ZeroDivisionError, OverflowError, TypeError) as error:
            raise UsageError(
                f"{value!r} is not a frame rate", remedy="Write 25, 23.976 or 24000/1001"
            ) from error
        if not 1 <= given <= _FASTEST:
            raise UsageError(f"a frame rate of {float(given):g} is out of range")
        whole = Fraction(round(given))
        ntsc = Fraction(round(given / _NTSC)) * _NTSC
        for exact in (whole, ntsc):
            if abs(given - exact) <= _CLOSE:
                return cls(exact)
        return cls(given.limit_denominator(1001))

    @property
    def nominal(self) -> int:
        """Frames that a second of timecode counts: 24 for 23.976."""
        return round(self.value)

    @property
    def drops(self) -> bool:
        """Whether its timecode leaves out labels, so that it keeps up with the clock."""
        return self.value != self.nominal and self.nominal in _DROPPED

    def frames(self, seconds: float) -> int:
        """The frame that comes on screen at a time, the first one being 0."""
        return round(Fraction(seconds) * self.value)

    def seconds(self, frames: int) -> Fraction:
        """When a frame comes on screen."""
        return frames / self.value

    def __str__(self) -> str:
        return f"{float(self.value):.5g}"


@dataclass(frozen=True, slots=True)
class Cut:
    """A moment in frames.

    Attributes:
        path: The film's absolute path.
        address: The same as a ``file:`` address.
        name: The film's name, for people.
        text: The sentence.
        rank: 1 for the best moment of its answer.
        score: 0 to 1.
        start: The first frame of the moment.
        end: The frame after its last.
        length: Frames of the film.
        timecode: The film's own timecode at its first frame; empty where it has none.
        width: Pixels of its pictures.
        height: Lines of its pictures.
        sound: Whether it has sound.
    """

    path: str
    address: str
    name: str
    text: str
    rank: int
    score: float
    start: int
    end: int
    length: int
    timecode: str
    width: int
    height: int
    sound: bool


def plan_cuts(
    records: Sequence[Record], facts: Mapping[str, FilmFacts], rate: FrameRate | None
) -> tuple[list[Cut], FrameRate]:
    """The moments of records as cuts of one timeline, in the order of the records.

    Args:
        records: The records.
        facts: What is known of each film, by its name in the records.
        rate: The timeline's frame rate; None takes that of the films.

    Raises:
        UsageError: The films do not share a frame rate, or there is no moment.
        VideoError: Nothing is known of a film.
    """
    found = [record for record in records if record.moments]
    if not found:
        raise UsageError("there is no moment to hand over")
    for record in found:
        if record.video not in facts:
            raise VideoError(
                "the frame rate is not known",
                where=record.video,
                remedy="Run the command where the film can be read",
            )
    shared = rate or _shared_rate([facts[record.video] for record in found])
    cuts = []
    for record in found:
        film = facts[record.video]
        path = os.path.abspath(film.path)
        for rank, moment in enumerate(record.moments or (), start=1):
            start = shared.frames(moment.start)
            end = max(start + 1, shared.frames(moment.end))
            cuts.append(
                Cut(
                    path=path,
                    address="file://" + quote(os.fsencode(path), safe="/"),
                    name=plain(PurePath(record.video).name),
                    text=cue_text(record.asked),
                    rank=rank,
                    score=moment.score,
                    start=start,
                    end=end,
                    length=max(end, shared.frames(max(film.duration, record.duration or 0.0))),
                    timecode=film.timecode,
                    width=film.width,
                    height=film.height,
                    sound=film.sound,
                )
            )
    return cuts, shared


def _shared_rate(films: Sequence[FilmFacts]) -> FrameRate:
    rates = {FrameRate.parse(film.rate) for film in films}
    if len(rates) > 1:
        named = ", ".join(sorted(map(str, rates)))
        raise UsageError(
            f"the films have different frame rates ({named}), a timeline has one",
            remedy="Choose one with --rate",
        )
    return rates.pop()
