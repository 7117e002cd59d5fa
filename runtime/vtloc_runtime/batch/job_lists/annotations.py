"""The benchmarks' own annotation files: queries, the videos they are about, and their moments.

========================  ======================================================================
ActivityNet Captions      ``{video: {duration, timestamps, sentences}}``; ids are ``VIDEO.INDEX``,
                          counted from 0
Charades-STA              ``VIDEO start end##sentence`` lines; ids are ``VIDEO.LINE``, counted
                          from 1
QVHighlights              JSON lines with ``qid``, ``vid``, ``query``, ``duration`` and
                          ``relevant_windows``; ids are the ``qid``
your own                  JSON lines with ``id``, ``video``, ``duration``, ``query`` and ``moments``
========================  ======================================================================

``vtloc-run`` names its jobs by these ids, so that its results can be matched with the file again.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from vtloc_runtime.errors import JobError, VtlocError
from vtloc_runtime.system.text import numbered_lines

Benchmark = Literal["activitynet", "charades", "qvhighlights", "plain"]

_CHARADES = re.compile(r"(\S+) (\S+) (\S+)##(.*)")

_Value = TypeVar("_Value")
_Error = type[VtlocError]


@dataclass(frozen=True, slots=True)
class Annotation:
    """One query of an annotation file.

    Attributes:
        id: Unique within the file of a benchmark.
        video: The video's name, mostly without folder or suffix.
        query: The sentence, without blanks around it.
        duration: The video's length in seconds, or None where the file does not say.
        spans: Start and end of each moment in seconds, as they are written; empty where the
            file keeps them to itself.
        where: The file and line, for messages.
    """

    id: str
    video: str
    query: str
    duration: float | None
    spans: tuple[tuple[float, float], ...]
    where: str


class _ActivityNetVideo(msgspec.Struct):
    sentences: list[str]
    duration: float | None = None
    timestamps: list[tuple[float, float]] | None = None


class _HighlightsQuery(msgspec.Struct):
    qid: int | str
    query: str
    vid: str
    duration: float | None = None
    relevant_windows: list[tuple[float, float]] | None = None


class _PlainQuery(msgspec.Struct, forbid_unknown_fields=True):
    id: int | str
    video: str
    query: str
    duration: float
    moments: list[tuple[float, float]] = []


def recognize(text: str, suffix: str) -> Benchmark | None:
    """Tell from a file's suffix and first line whose annotations it holds.

    Args:
        text: The whole file.
        suffix: Such as ``.json``.

    Returns:
        The format, or None where it is none of them. JSON lines with a query are ``plain``, even
        where they have no moments.
    """
    first = next((line for _, line in numbered_lines(text) if line.strip()), "").strip()
    if _CHARADES.fullmatch(first):
        return "charades"
    if suffix == ".jsonl" or first.endswith("}"):
        if '"qid"' in first and '"video"' not in first:
            return "qvhighlights"
        if '"moments"' in first or '"query"' in first:
            return "plain"
    return "activitynet" if suffix == ".json" and '"sentences"' in text else None


def parse_annotations(
    text: str, benchmark: Benchmark, place: Path, *, error: _Error = JobError
) -> Iterator[Annotation]:
    """Read the annotations of one file.

    Args:
        text: The whole file.
        benchmark: Its format.
        place: The file, for messages.
        error: What to raise.

    Yields:
        Each query, in the file's order.

    Raises:
        VtlocError: ``error``, where the file is not written in that format.
    """
    return _READERS[benchmark](text, place, error)


def _activitynet(text: str, place: Path, error: _Error) -> Iterator[Annotation]:
    videos = _decode(text, dict[str, _ActivityNetVideo], "the file", place, error)
    for video, entry in videos.items():
        spans = entry.timestamps
        if spans is not None and len(spans) != len(entry.sentences):
            raise error(
                f"{video} has {len(spans)} timestamps for {len(entry.sentences)} sentences",
                where=place,
            )
        for index, sentence in enumerate(entry.sentences):
            yield Annotation(
                f"{video}.{index}",
                video,
                sentence.strip(),
                entry.duration,
                () if spans is None else (spans[index],),
                f"{place}: {video}",
            )


def _charades(text: str, place: Path, error: _Error) -> Iterator[Annotation]:
    for number, where, line in _lines(text, place):
        match = _CHARADES.fullmatch(line.strip())
        if match is None or not match[4].strip():
            raise error("the line is not VIDEO START END##SENTENCE", where=where)
        video, span = match[1], (_seconds(match[2], where, error), _seconds(match[3], where, error))
        yield Annotation(f"{video}.{number}", video, match[4].strip(), None, (span,), where)


def _seconds(text: str, where: str, error: _Error) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise error(f"{text!r} is not a time in seconds", where=where)
    return seconds


def _highlights(text: str, place: Path, error: _Error) -> Iterator[Annotation]:
    for _, where, line in _lines(text, place):
        row = _decode(line, _HighlightsQuery, "the line", where, error)
        spans = tuple(row.relevant_windows or ())
        yield Annotation(str(row.qid), row.vid, row.query.strip(), row.duration, spans, where)


def _plain(text: str, place: Path, error: _Error) -> Iterator[Annotation]:
    for _, where, line in _lines(text, place):
        row = _decode(line, _PlainQuery, "the line", where, error)
        spans = tuple(row.moments)
        yield Annotation(str(row.id), row.video, row.query.strip(), row.duration, spans, where)


def _lines(text: str, place: Path) -> Iterator[tuple[int, str, str]]:
    for number, line in numbered_lines(text):
        if line.strip():
            yield number, f"{place}:{number}", line


def _decode(text: str, kind: type[_Value], what: str, where: object, error: _Error) -> _Value:
    try:
        return msgspec.json.decode(text, type=kind)
    except RecursionError as cause:
        raise error(f"{what} is nested too deeply", where=where) from cause
    except msgspec.ValidationError as cause:
        raise error(f"{what} is not valid: {cause}", where=where) from cause
    except (msgspec.DecodeError, ValueError) as cause:
        raise error(f"{what} is not valid JSON: {cause}", where=where) from cause


_READERS: dict[Benchmark, Callable[[str, Path, _Error], Iterator[Annotation]]] = {
    "activitynet": _activitynet,
    "charades": _charades,
    "qvhighlights": _highlights,
    "plain": _plain,
}
