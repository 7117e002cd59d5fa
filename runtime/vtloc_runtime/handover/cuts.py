"""Moments as whole frames of films, which is what editors' formats hold."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING
from urllib.parse import quote

from vtloc_runtime.errors import UsageError, VideoError
from vtloc_runtime.handover.captions import cue_text
from vtloc_runtime.handover.timecode import FrameRate, Timecode
from vtloc_runtime.system.text import plain

if TYPE_CHECKING:
    from vtloc_runtime.batch.results.records import Record
    from vtloc_runtime.video.film_facts import FilmFacts

TITLE = "vtloc moments"


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

    def first_frame(self, rate: FrameRate) -> int:
        """The number of the film's first frame by its own timecode; 0 without one.

        Args:
            rate: The timeline's frame rate.
        """
        found = Timecode.of_label(self.timecode, rate)
        # A timecode of another rate, or a damaged one, says nothing.
        return 0 if found is None else found[1]

    def timecode_at(self, rate: FrameRate) -> Timecode:
        """The film's kind of timecode; without one of its own, drop-frame where there is such.

        Args:
            rate: The timeline's frame rate.
        """
        found = Timecode.of_label(self.timecode, rate)
        return Timecode(rate, rate.may_drop) if found is None else found[0]


def timecodes(cuts: Sequence[Cut], rate: FrameRate) -> set[Timecode]:
    """The kinds of timecode of films, those without one aside if others have one.

    Args:
        cuts: The cuts; one at least.
        rate: The timeline's frame rate.
    """
    own = {cut.timecode_at(rate) for cut in cuts if Timecode.of_label(cut.timecode, rate)}
    return own or {Timecode(rate, rate.may_drop)}


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
