"""Groups a run's records by video into the films of a page."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING
from urllib.parse import quote

from vtloc_runtime.errors import VideoError
from vtloc_runtime.report.evidence import Evidence, SentenceEvidence
from vtloc_runtime.report.filmstrip import Filmstrip, choose_instants, read_filmstrip
from vtloc_runtime.report.model import Answer, Film, Span
from vtloc_runtime.video.isolation.decoder_process import DecoderProcess

if TYPE_CHECKING:
    from vtloc_runtime.batch.results.records import Record
    from vtloc_runtime.video.isolation.chunks import Read
    from vtloc_runtime.video.isolation.limits import DecoderLimits

_KINDS = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".webm": "video/webm",
    ".mkv": "video/x-matroska",
    ".ogv": "video/ogg",
}
LARGEST_CARRIED = 16 * 2**20
"""Bytes of a film that a page carries, at most."""
MOST_CARRIED = 64 * 2**20
"""Bytes of all films that a page carries, at most."""

Explain = Callable[[str, Sequence["Record"]], Evidence]
"""The evidence of a video's answers, given the video's path and their records."""


@dataclass(slots=True)
class CarriedFilms:
    """The films whose bytes a page carries, within bounds.

    Attributes:
        films: Bytes by the id of the element that carries them.
    """

    films: dict[str, bytes] = field(default_factory=dict)

    def take(self, path: str) -> str:
        """Take a film in; gives its id, or nothing where it is too large or has gone."""
        left = MOST_CARRIED - sum(map(len, self.films.values()))
        with suppress(OSError, ValueError):
            if os.path.isfile(path) and os.path.getsize(path) <= min(left, LARGEST_CARRIED):
                name = f"film-{len(self.films) + 1}"
                self.films[name] = Path(path).read_bytes()
                return name
        return ""


def build_films(
    records: Iterable[Record],
    *,
    folder: str | os.PathLike[str] = ".",
    paths: Mapping[str, str] | None = None,
    explain: Explain | None = None,
    carried: CarriedFilms | None = None,
    limits: DecoderLimits | None = None,
) -> tuple[Film, ...]:
    """Group records by video, with pictures of each video.

    Args:
        records: The records, in the order of the page.
        folder: Where the page goes; films are addressed from there.
        paths: The path of a video by its name in the records, where the two differ.
        explain: Gives the evidence of a video; None gives none.
        carried: Takes in the films that the page is to carry; None carries none.
        limits: Limits of the decoder process that reads the pictures.
    """
    videos: dict[str, list[Record]] = {}
    for record in records:
        videos.setdefault(record.video, []).append(record)
    films = []
    with DecoderProcess(limits) as decoder:
        for name, found in videos.items():
            path = (paths or {}).get(name, name)
            film = _film(name, found)
            if not film.error:
                film = _with_pictures(film, path, decoder.read, films=len(videos))
                film = replace(film, source=film_address(path, folder), kind=_kind(path))
                film = _with_evidence(film, path, found, explain)
                if carried is not None:
                    film = replace(film, carried=carried.take(path))
            films.append(film)
    return tuple(films)


def film_address(path: str, folder: str | os.PathLike[str]) -> str:
    """The address of a film as a page in a folder names it; empty where there is no such file.

    Args:
        path: The film.
        folder: The page's folder.
    """
    try:
        if not os.path.isfile(path):
            return ""
    except ValueError:
        return ""
    relative = os.path.relpath(os.path.abspath(path), os.path.abspath(folder))
    # Whatever the name holds, the address is a path: no scheme, no host, no query.
    return "./" + quote(os.fsencode(relative), safe="/")


def _film(name: str, records: list[Record]) -> Film:
    """One video's answers; a video that no sentence was answered about has an error instead."""
    failures = [record.error for record in records]
    unreadable = [one for one in failures if one is not None and one.kind == VideoError.kind]
    shared = set.intersection(*(set(record.warnings) for record in records))
    duration = next((record.duration for record in records if record.duration), 0.0)
    error = ""
    if len(unreadable) == len(records):
        first = unreadable[0]
        error = first.what + (f". {first.remedy}" if first.remedy else "")
    return Film(
        name,
        duration=duration,
        answers=tuple(_answer(record, shared) for record in records),
        warnings=tuple(one for one in records[0].warnings if one in shared),
        error=error,
    )


def _answer(record: Record, shared: set[str]) -> Answer:
    return Answer(
        record.asked,
        tuple(Span(found.start, found.end, found.score) for found in record.moments or ()),
        presence=record.presence,
        warnings=tuple(one for one in record.warnings if one not in shared),
        error="" if record.error is None else record.error.what,
    )


def _with_pictures(film: Film, path: str, read: Read, *, films: int) -> Film:
    spans = [(span.start, span.end) for answer in film.answers for span in answer.moments]
    instants = choose_instants(film.duration, spans, films=films)
    if not instants:
        return film
    try:
        strip = read_filmstrip(path, instants, read=read)
    except Exception:
        # Show the answers even if the file cannot be read any more.
        if os.environ.get("VTLOC_DEBUG"):
            raise
        strip = Filmstrip()
    return replace(film, images=strip.images, frames=strip.frames)


def _with_evidence(film: Film, path: str, records: list[Record], explain: Explain | None) -> Film:
    if explain is None:
        return film
    answered = [record for record in records if record.error is None]
    try:
        evidence = explain(path, answered)
    except Exception:
        # The evidence adds to answers that there are already.
        if os.environ.get("VTLOC_DEBUG"):
            raise
        return film
    nothing = SentenceEvidence()
    found = [evidence.sentences.get(answer.query, nothing) for answer in film.answers]
    answers = tuple(
        replace(answer, curve=one.curve, words=one.words, weights=one.weights)
        for answer, one in zip(film.answers, found, strict=True)
    )
    return replace(film, times=evidence.times, answers=answers)


def _kind(path: str) -> str:
    return _KINDS.get(PurePath(path).suffix.lower(), "")
