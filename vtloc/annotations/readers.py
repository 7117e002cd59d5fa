"""Annotation files as splits of a benchmark, with the durations that scoring needs.

``vtloc_runtime.batch.job_lists.annotations`` has the formats and the ids of the queries.
Charades-STA has no durations; they come from ``charades.json`` or a ``Charades_v1_*.csv``
beside it.
"""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from vtloc.annotations.examples import Example, Split, annotated
from vtloc.errors import AnnotationError
from vtloc.tensor_file import read_whole
from vtloc_runtime.batch.job_lists.annotations import (
    Annotation,
    Benchmark,
    parse_annotations,
    recognize,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_TITLES: dict[Benchmark, str] = {
    "activitynet": "ActivityNet Captions",
    "charades": "Charades-STA",
    "qvhighlights": "QVHighlights",
    "plain": "annotations",
}


class _CharadesVideo(msgspec.Struct):
    duration: float


def read_split(path: str | Path, *, durations: str | Path | None = None) -> Split:
    """Read one annotation file.

    Args:
        path: The file as published; its suffix and first line tell its format.
        durations: For Charades-STA, ``charades.json`` or a CSV with ``id`` and ``length``; None
            looks beside ``path``.

    Raises:
        AnnotationError: The file is missing, is in another format, or contains no annotations.
    """
    place = Path(path)
    text = _decode(read_whole(place, AnnotationError), place)
    kind = recognize(text, place.suffix.lower())
    if kind is None:
        raise AnnotationError(
            "the file is in none of the known annotation formats",
            where=place,
            remedy="Known are ActivityNet Captions, Charades-STA, QVHighlights and JSON lines with "
            "id, video, duration, query and moments",
        )
    known = _charades_durations(place, durations) if kind == "charades" else {}
    annotations = parse_annotations(text, kind, place, error=AnnotationError)
    examples = tuple(_example(annotation, known) for annotation in annotations)
    _check(examples, place)
    return Split(_TITLES[kind], place.stem, examples)


def _decode(content: bytes, place: Path) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise AnnotationError(f"the file is not UTF-8 text: {error}", where=place) from error


def _example(annotation: Annotation, known: Mapping[str, float]) -> Example:
    video = annotation.video
    duration = known.get(video) if annotation.duration is None else annotation.duration
    if duration is None:
        raise AnnotationError(f"no duration is known for {video}", where=annotation.where)
    if not 0 < duration < math.inf:
        raise AnnotationError(f"{video} has no positive duration", where=annotation.where)
    return annotated(annotation.id, video, duration, annotation.query, annotation.spans)


def _charades_durations(place: Path, durations: str | Path | None) -> dict[str, float]:
    beside = [place.with_name("charades.json"), *sorted(place.parent.glob("Charades_v1_*.csv"))]
    files = [Path(durations)] if durations is not None else [f for f in beside if f.is_file()]
    if not files:
        raise AnnotationError(
            "Charades-STA names no durations",
            where=place,
            remedy="Put charades.json or Charades_v1_train.csv and Charades_v1_test.csv beside it",
        )
    known: dict[str, float] = {}
    for file in files:
        text = _decode(read_whole(file, AnnotationError), file)
        known.update(
            _durations_csv(text, file) if file.suffix == ".csv" else _durations(text, file)
        )
    return known


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


def _check(examples: tuple[Example, ...], place: Path) -> None:
    if not examples:
        raise AnnotationError("the file contains no annotations", where=place)
    seen: set[str] = set()
    for example in examples:
        if example.id in seen:
            raise AnnotationError(f"two queries have the id {example.id}", where=place)
        seen.add(example.id)
