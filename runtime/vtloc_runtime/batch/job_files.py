"""Lists of videos and sentences, and the benchmarks' own annotations, read as jobs.

======================  ==========================================================================
``.txt``                a video a line; ``#`` begins a comment
``.csv``, ``.tsv``      columns ``video``, ``query`` and, if wanted, ``id``, between commas,
                        semicolons or tabs
``.jsonl``              objects with ``video`` and ``query`` or ``queries``, and perhaps ``id``
ActivityNet Captions    a JSON object of videos with ``sentences``
Charades-STA            lines such as ``AO8RW 0.0 6.9##a person sits down``
QVHighlights            JSON lines with ``qid``, ``vid`` and ``query``
======================  ==========================================================================

Annotations name videos without folder or suffix, so they need the folder of the videos.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vtloc_runtime.batch.folder_listing import NamedVideos
from vtloc_runtime.errors import JobError
from vtloc_runtime.system.text import numbered_lines

LIST_SUFFIXES = frozenset({".txt", ".csv", ".tsv", ".jsonl", ".json"})

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_CHARADES = re.compile(r"(\S+) (\S+) (\S+)##(.*)")


@dataclass(frozen=True, slots=True)
class JobLine:
    """What one line of a list asks for.

    Attributes:
        video: The video's path or address.
        queries: Sentences to find in it; empty where the list brings none.
        id: The list's own name for it, or None.
    """

    video: str
    queries: tuple[str, ...]
    id: str | None = None


def read_list(path: Path, *, videos: Path | None = None) -> Iterator[JobLine]:
    """Read a list or a benchmark's annotations, line by line.

    Args:
        path: The file; what it is shows in its suffix and its content.
        videos: Where the videos of a benchmark's annotations lie.

    Yields:
        What each line asks for.

    Raises:
        JobError: It cannot be read, is malformed, or is empty.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise JobError(
            "the list is not UTF-8 text", where=path, remedy="Save it as UTF-8"
        ) from error
    except (OSError, ValueError) as error:
        # ValueError: a name with a NUL in it.
        reason = getattr(error, "strerror", None) or error
        raise JobError(f"cannot read the list: {reason}", where=path) from error
    read, annotations = _layout(path, text)
    lines = _in_folder(read(path, text), path, videos) if annotations else read(path, text)
    line = None
    for line in lines:
        yield line
    if line is None:
        raise JobError("the list is empty", where=path)


def _layout(path: Path, text: str) -> tuple[Callable[[Path, str], Iterator[JobLine]], bool]:
    """How to read a list, and whether it names videos as annotations do."""
    suffix = path.suffix.lower()
    first = next((line for _, line in numbered_lines(text) if line.strip()), "")
    if suffix == ".json":
        return _read_activitynet, True
    if suffix == ".jsonl":
        marked = '"qid"' in first and '"video"' not in first
        return (_read_qvhighlights, True) if marked else (_read_json_lines, False)
    if suffix == ".txt":
        return (_read_charades, True) if _CHARADES.fullmatch(first) else (_read_text, False)
    return _read_csv, False


def _in_folder(lines: Iterable[JobLine], path: Path, videos: Path | None) -> Iterator[JobLine]:
    """Annotated lines with the paths of their videos; one that is missing keeps its bare name."""
    named: NamedVideos | None = None
    for line in lines:
        if videos is None:
            raise JobError(
                "these annotations name videos without their place",
                where=path,
                remedy="Say where the videos lie with --videos FOLDER",
            )
        if named is None:
            if not os.path.isdir(videos):
                raise JobError("--videos does not name a folder", where=videos)
            named = NamedVideos(videos)
        yield JobLine(named.find(line.video) or str(videos / line.video), line.queries, line.id)


def _read_text(path: Path, text: str) -> Iterator[JobLine]:
    for _, line in numbered_lines(text):
        if (name := line.strip()) and not name.startswith("#"):
            yield JobLine(_locate(name, path), ())


def _read_csv(path: Path, text: str) -> Iterator[JobLine]:
    delimiter, columns = _header(path, text)
    rows = csv.DictReader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    rows.fieldnames = columns
    try:
        next(rows, None)
        for row in rows:
            where = f"{path}:{rows.line_num}"
            if None in row:
                raise JobError(
                    "the row has more fields than the header",
                    where=where,
                    remedy=f'Put sentences with "{delimiter}" into "quotation marks"',
                )
            if not any((value or "").strip() for value in row.values()):
                continue
            if not (row["video"] or "").strip():
                raise JobError("the row names no video", where=where)
            queries = (row["query"] or "",) if "query" in columns else ()
            yield JobLine(_locate(row["video"].strip(), path), queries, row.get("id") or None)
    except csv.Error as error:
        where = f"{path}:{rows.line_num}"
        raise JobError(f"the row is not valid CSV: {error}", where=where) from error


def _header(path: Path, text: str) -> tuple[str, list[str]]:
    """The delimiter under which the header has a column ``video``, and the columns."""
    for delimiter in ",;\t":
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        try:
            columns = [name.strip().lower() for name in next(reader, [])]
        except csv.Error as error:
            raise JobError(f"the header is not valid CSV: {error}", where=f"{path}:1") from error
        if "video" in columns:
            return delimiter, columns
    first = next((line.strip() for _, line in numbered_lines(text)), "")
    raise JobError(
        f"the list begins with {first[:60]!r}, which names no column video",
        where=path,
        remedy="Begin it with the line: video,query",
    )


def _read_json_lines(path: Path, text: str) -> Iterator[JobLine]:
    return (_json_line(entry, path, where) for where, entry in _json_objects(path, text))


def _json_objects(path: Path, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each line's place, and the object that it holds."""
    for number, line in numbered_lines(text):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        entry = _parse(line, "the line", where)
        yield where, entry if isinstance(entry, dict) else {}


def _parse(text: str, what: str, where: object) -> Any:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise JobError(f"{what} is nested too deeply", where=where) from error
    except ValueError as error:
        raise JobError(f"{what} is not valid JSON: {error}", where=where) from error


def _json_line(entry: dict[str, Any], path: Path, where: str) -> JobLine:
    if not isinstance(entry.get("video"), str):
        raise JobError(
            "the line has no video",
            where=where,
            remedy='Write objects such as {"video": "film.mp4", "query": "a dog"}',
        )
    if "query" in entry and "queries" in entry:
        raise JobError("the line has both query and queries", where=where)
    queries = entry.get("queries", [entry["query"]] if "query" in entry else [])
    if not isinstance(queries, list) or not all(isinstance(query, str) for query in queries):
        raise JobError("query is one sentence, queries a list of them", where=where)
    name = entry.get("id")
    if name is not None and (isinstance(name, bool) or not isinstance(name, (str, int))):
        raise JobError("id is text or a number", where=where)
    return JobLine(
        _locate(entry["video"], path), tuple(queries), None if name is None else str(name)
    )


def _locate(name: str, listed_in: Path) -> str:
    """A listed path as it is, or beside the list where only that exists."""
    if is_address(name):
        return name
    # Names that no file can have, too long ones for instance, do not exist; reading says so.
    beside = os.path.join(listed_in.parent, name)
    return beside if not os.path.exists(name) and os.path.exists(beside) else name


def is_address(name: str) -> bool:
    """Whether a name is a URL, which is never looked for on disk."""
    return _ADDRESS.match(name) is not None


def _read_activitynet(path: Path, text: str) -> Iterator[JobLine]:
    content = _parse(text, "the list", path)
    if not isinstance(content, dict):
        raise JobError("the list is not an object of videos", where=path)
    for video, entry in content.items():
        sentences = entry.get("sentences") if isinstance(entry, dict) else None
        if not isinstance(sentences, list) or not all(isinstance(s, str) for s in sentences):
            raise JobError("the video has no sentences", where=f"{path}: {video}")
        for index, sentence in enumerate(sentences):
            yield JobLine(video, (sentence.strip(),), f"{video}.{index}")


def _read_charades(path: Path, text: str) -> Iterator[JobLine]:
    for number, line in numbered_lines(text):
        if not line.strip():
            continue
        found = _CHARADES.fullmatch(line)
        if found is None:
            raise JobError(
                "the line is not written as VIDEO START END##SENTENCE", where=f"{path}:{number}"
            )
        yield JobLine(found[1], (found[4].strip(),), f"{found[1]}.{number}")


def _read_qvhighlights(path: Path, text: str) -> Iterator[JobLine]:
    for where, entry in _json_objects(path, text):
        if not isinstance(entry.get("vid"), str) or not isinstance(entry.get("query"), str):
            raise JobError("the line has no vid or no query", where=where)
        yield JobLine(entry["vid"], (entry["query"],), str(entry.get("qid")))
