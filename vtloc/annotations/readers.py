"""Readers of the benchmarks' own files, and of a plain format for one's own annotations.

=========================  =====================================================================
ActivityNet Captions       ``{video: {duration, timestamps, sentences}}``, a ``.json``
Charades-STA               ``VIDEO start end##sentence`` lines, a ``.txt``; durations from
                           ``charades.json`` or a ``Charades_v1_*.csv`` beside it
QVHighlights               JSON lines with ``qid``, ``vid``, ``relevant_windows``
one's own                  JSON lines with ``id``, ``video``, ``duration``, ``query``, ``moments``
=========================  =====================================================================
"""

from __future__ import annotations

import csv
import io
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from vtloc.annotations.examples import Example, Split, annotated
from vtloc.errors import AnnotationError
from vtloc.tensor_file import read_whole
from vtloc_runtime.system.text import numbered_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Benchmark = Literal["activitynet", "charades", "qvhighlights", "plain"]

_TITLES: dict[Benchmark, str] = {
    "activitynet": "ActivityNet Captions",
    "charades": "Charades-STA",
    "qvhighlights": "QVHighlights",
    "plain": "annotations",
}
_CHARADES_LINE = re.compile(r"(\S+) ([\d.]+) ([\d.]+)##(.*\S.*)")


class _ActivityNetVideo(msgspec.Struct):
    duration: float
    timestamps: list[tuple[float, float]]
    sentences: list[str]


class _HighlightsQuery(msgspec.Struct):
    qid: int | str
    query: str
    duration: float
    vid: str
    relevant_windows: list[tuple[float, float]] = []


class _PlainQuery(msgspec.Struct, forbid_unknown_fields=True):
    id: int | str
    video: str
    duration: float
    query: str
    moments: list[tuple[float, float]] = []


class _CharadesVideo(msgspec.Struct):
    duration: float


def read_split(
    path: str | Path, *, benchmark: Benchmark | None = None, durations: str | Path | None = None
) -> Split:
    """Read one annotation file.

    Args:
        path: The file as published.
        benchmark: Whose file it is; None tells by its suffix and first line.
        durations: Charades only: ``charades.json`` or a CSV with ``id`` and ``length``; None
            looks beside ``path``.

    Raises:
        AnnotationError: The file is missing, is not what it is said to be, or holds nothing.
    """
    place = Path(path)
    text = _decode(read_whole(place, AnnotationError), place)
    kind = benchmark or _recognize(place, text)
    if kind == "activitynet":
        examples = tuple(_activitynet(text, place))
    elif kind == "charades":
        examples = tuple(_charades(text, place, _charades_durations(place, durations)))
    elif kind == "qvhighlights":
        examples = tuple(_highlights(text, place))
    else:
        examples = tuple(_plain(text, place))
    _check(examples, place)
    return Split(_TITLES[kind], place.stem, examples)


def _decode(content: bytes, place: Path) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise AnnotationError(f"the file is not UTF-8 text: {error}", where=place) from error


def _recognize(place: Path, text: str) -> Benchmark:
    first = text.lstrip().partition("\n")[0]
    if _CHARADES_LINE.fullmatch(first.strip()):
        return "charades"
    if place.suffix == ".jsonl" or first.rstrip().endswith("}"):
        if '"qid"' in first:
            return "qvhighlights"
        if '"moments"' in first or '"query"' in first:
            return "plain"
    if '"timestamps"' in text:
        return "activitynet"
    raise AnnotationError(
        "the file is none of the known annotation formats",
        where=place,
        remedy="Known are ActivityNet Captions, Charades-STA, QVHighlights and JSON lines with "
        "id, video, duration, query and moments",
    )


def _activitynet(text: str, place: Path) -> Iterator[Example]:
    try:
        videos = msgspec.json.decode(text, type=dict[str, _ActivityNetVideo])
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise AnnotationError(f"the file is not valid: {error}", where=place) from error
    for video, entry in videos.items():
        if len(entry.timestamps) != len(entry.sentences):
            raise AnnotationError(
                f"{video} has {len(entry.timestamps)} timestamps for "
                f"{len(entry.sentences)} sentences",
                where=place,
            )
        pairs = zip(entry.timestamps, entry.sentences, strict=True)
        for index, (span, sentence) in enumerate(pairs):
            yield annotated(f"{video}#{index}", video, entry.duration, sentence, [span])


def _charades(text: str, place: Path, durations: Mapping[str, float]) -> Iterator[Example]:
    for number, line in numbered_lines(text):
        if not line.strip():
            continue
        match = _CHARADES_LINE.fullmatch(line.strip())
        if match is None:
            raise AnnotationError(
                "the line is not VIDEO start end##sentence", where=f"{place}:{number}"
            )
        video, sentence = match[1], match[4]
        if video not in durations:
            raise AnnotationError(f"no duration is known for {video}", where=f"{place}:{number}")
        span = (_number(match[2], place, number), _number(match[3], place, number))
        yield annotated(f"{video}#{number}", video, durations[video], sentence, [span])


def _number(text: str, place: Path, line: int) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise AnnotationError(f"{text!r} is not a time", where=f"{place}:{line}") from error


def _charades_durations(place: Path, durations: str | Path | None) -> dict[str, float]:
    beside = [place.with_name("charades.json"), *sorted(place.parent.glob("Charades_v1_*.csv"))]
    files = [Path(durations)] if durations is not None else [f for f in beside if f.is_file()]
    if not files:
        raise AnnotationError(
            "Charades-STA names no durations",
            where=place,
            remedy="Put charades.json or Charades_v1_train.csv and Charades_v1_test.csv beside it",
        )
    found: dict[str, float] = {}
    for file in files:
        text = _decode(read_whole(file, AnnotationError), file)
        found.update(
            _durations_csv(text, file) if file.suffix == ".csv" else _durations(text, file)
        )
    return found


def _durations(text: str, place: Path) -> dict[str, float]:
    try:
        videos = msgspec.json.decode(text, type=dict[str, _CharadesVideo])
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise AnnotationError(f"the file is not valid: {error}", where=place) from error
    return {video: entry.duration for video, entry in videos.items()}


def _durations_csv(text: str, place: Path) -> dict[str, float]:
    try:
        return {row["id"]: float(row["length"]) for row in csv.DictReader(io.StringIO(text))}
    except (KeyError, TypeError, ValueError) as error:
        raise AnnotationError("the table has no columns id and length", where=place) from error


def _highlights(text: str, place: Path) -> Iterator[Example]:
    for where, line in _lines(text, place):
        try:
            row = msgspec.json.decode(line, type=_HighlightsQuery)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise AnnotationError(f"the line is not valid: {error}", where=where) from error
        yield annotated(str(row.qid), row.vid, row.duration, row.query, row.relevant_windows)


def _plain(text: str, place: Path) -> Iterator[Example]:
    for where, line in _lines(text, place):
        try:
            row = msgspec.json.decode(line, type=_PlainQuery)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise AnnotationError(f"the line is not valid: {error}", where=where) from error
        yield annotated(str(row.id), row.video, row.duration, row.query, row.moments)


def _lines(text: str, place: Path) -> Iterator[tuple[str, str]]:
    for number, line in numbered_lines(text):
        if line.strip():
            yield f"{place}:{number}", line


def _check(examples: tuple[Example, ...], place: Path) -> None:
    if not examples:
        raise AnnotationError("the file contains no annotations", where=place)
    seen: set[str] = set()
    for example in examples:
        if example.id in seen:
            raise AnnotationError(f"two queries have the id {example.id}", where=place)
        if not 0 < example.duration < math.inf:
            raise AnnotationError(f"{example.video} has no positive duration", where=place)
        seen.add(example.id)
