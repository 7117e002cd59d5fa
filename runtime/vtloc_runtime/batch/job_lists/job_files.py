"""Lists of videos and sentences, and the benchmarks' own annotations, read as jobs.

======================  ==========================================================================
``.txt``                a video a line; ``#`` begins a comment
``.csv``, ``.tsv``      columns ``video``, ``query`` and, if wanted, ``like`` (a picture) and
                        ``id``, between commas, semicolons or tabs
``.jsonl``              objects with ``video`` and ``query`` or ``queries``, and perhaps ``id``,
                        ``rewrites`` (other wordings of ``query``) and ``like`` (pictures)
ActivityNet Captions    a JSON object of videos with ``sentences``
Charades-STA            lines such as ``AO8RW 0.0 6.9##a person sits down``
QVHighlights            JSON lines with ``qid``, ``vid`` and ``query``
======================  ==========================================================================

Annotations name videos without folder or suffix, so they need the folder of the videos. Their
queries keep the ids that ``vtloc_runtime.batch.job_lists.annotations`` gives them.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vtloc_runtime.batch.job_lists.annotations import Annotation, parse_annotations, recognize
from vtloc_runtime.batch.job_lists.folder_listing import NamedVideos
from vtloc_runtime.errors import JobError
from vtloc_runtime.system.input_file import LARGEST_TEXT, read_input
from vtloc_runtime.system.text import numbered_lines, unicode_name
from vtloc_runtime.system.untrusted_json import json_fault, unique_names

LIST_SUFFIXES = frozenset({".txt", ".csv", ".tsv", ".jsonl", ".json"})

_COLUMNS = frozenset({"video", "query", "like", "id"})
_KEYS = _COLUMNS | {"queries", "rewrites", "duration", "moments"}
_MOST_SHOWN = 5
_NO_DELIMITER = frozenset("\"'_-. \r\n")

Notice = Callable[[str], None]
"""Takes a line for people."""

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True, slots=True)
class JobLine:
    """What one line of a list asks for.

    Attributes:
        video: The video's path or address.
        queries: Sentences to find in it; empty where the list brings none.
        id: The list's own name for it, or None.
        rewrites: Other wordings of the sentence; then there is one.
        like: Pictures to find moments like, each with every sentence.
    """

    video: str
    queries: tuple[str, ...]
    id: str | None = None
    rewrites: tuple[str, ...] = ()
    like: tuple[str, ...] = ()


def read_list(
    path: Path, *, videos: Path | None = None, notice: Notice | None = None
) -> Iterator[JobLine]:
    """Read a list or a benchmark's annotations, line by line.

    Args:
        path: The file; what it is shows in its suffix and its content.
        videos: The folder of the videos that annotations, or JSON lines, name.
        notice: Called with a line about what the list holds and is not read.

    Yields:
        What each line asks for.

    Raises:
        JobError: It cannot be read, is malformed, or is empty.
    """
    text = _utf8_text(path, "list")
    folder = _VideoFolder(videos)
    benchmark = recognize(text, path.suffix.lower())
    if path.suffix.lower() == ".json" and benchmark is None:
        benchmark = "activitynet"
    lines = (
        _own_lines(path, text, folder, notice)
        if benchmark is None or benchmark == "plain"
        else _annotated_lines(parse_annotations(text, benchmark, path), path, folder)
    )
    line = None
    for line in lines:
        yield line
    if line is None:
        raise JobError("the list is empty", where=path)


def read_sentences(path: Path) -> list[str]:
    """The sentences of a file, one a line, in its order; empty lines are skipped.

    Raises:
        JobError: It cannot be read, or holds no sentence.
    """
    text = _utf8_text(path, "file of sentences")
    sentences = [line.strip() for _, line in numbered_lines(text) if line.strip()]
    if not sentences:
        raise JobError("the file holds no sentence", where=path)
    return sentences


class _VideoFolder:
    """The folder that ``--videos`` names, listed when it is first needed.

    Args:
        path: The folder, or None where the option was not given.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._named: NamedVideos | None = None

    def find(self, name: str) -> str | None:
        """The path of a video that annotations name, or None if there is none of that name."""
        if self.path is None:
            return None
        if self._named is None:
            if not os.path.isdir(self.path):
                raise JobError("--videos does not name a folder", where=self.path)
            self._named = NamedVideos(self.path)
        return self._named.find(name)

    def place(self, line: JobLine) -> JobLine:
        """A line of a list, its video looked for in the folder if its path leads nowhere."""
        if self.path is None or is_address(line.video) or os.path.exists(line.video):
            return line
        return replace(line, video=self.find(line.video) or line.video)


def _own_lines(
    path: Path, text: str, folder: _VideoFolder, notice: Notice | None
) -> Iterator[JobLine]:
    """The lines of a list that is not a benchmark's."""
    suffix = path.suffix.lower()
    if suffix in {".json", ".jsonl"}:
        return _read_json_lines(path, text, folder, notice)
    lines = _read_text(path, text) if suffix == ".txt" else _read_csv(path, text, notice)
    return (folder.place(line) for line in lines)


def _annotated_lines(
    annotations: Iterable[Annotation], path: Path, folder: _VideoFolder
) -> Iterator[JobLine]:
    """Annotated queries with the paths of their videos; a missing video keeps its bare name."""
    for annotation in annotations:
        if folder.path is None:
            raise JobError(
                "these annotations name videos without their place",
                where=path,
                remedy="Say where the videos lie with --videos FOLDER",
            )
        video = folder.find(annotation.video) or str(folder.path / annotation.video)
        yield JobLine(video, (annotation.query,), annotation.id)


def _read_text(path: Path, text: str) -> Iterator[JobLine]:
    for _, line in numbered_lines(text):
        if (name := line.strip()) and not name.startswith("#"):
            yield JobLine(_locate(name, path), ())


def _read_csv(path: Path, text: str, notice: Notice | None) -> Iterator[JobLine]:
    delimiter, columns = _header(path, text, notice)
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
            like = (row.get("like") or "").strip()
            queries = (row["query"] or "",) if "query" in columns else ()
            if like and queries == ("",):
                queries = ()
            yield JobLine(
                _locate(row["video"].strip(), path),
                queries,
                row.get("id") or None,
                like=(_locate(like, path),) if like else (),
            )
    except csv.Error as error:
        # Of the last row that was whole, ``rows`` itself would say.
        where = f"{path}:{rows.reader.line_num}"
        raise JobError(f"the row is not valid CSV: {error}", where=where) from error


def _header(path: Path, text: str, notice: Notice | None) -> tuple[str, list[str]]:
    """The delimiter under which the header has a column ``video``, and the columns."""
    heading = next((line for _, line in numbered_lines(text)), "")
    marks = dict.fromkeys(mark for mark in heading if not (mark.isalnum() or mark in _NO_DELIMITER))
    for delimiter in dict.fromkeys([*",;\t", *marks]):
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        try:
            columns = [name.strip().lower() for name in next(reader, [])]
        except csv.Error as error:
            raise JobError(f"the header is not valid CSV: {error}", where=f"{path}:1") from error
        # With any other mark a sentence could be taken for a header.
        if "video" in columns and (delimiter in ",;\t" or set(columns) <= _COLUMNS):
            _check_columns(columns, path, notice)
            return delimiter, columns
    first = next((line.strip() for _, line in numbered_lines(text)), "")
    raise JobError(
        f"the list begins with {first[:60]!r}, which names no column video",
        where=path,
        remedy="Begin it with the line: video,query",
    )


def _check_columns(columns: Sequence[str], path: Path, notice: Notice | None) -> None:
    """Refuse a column that comes twice, and say which are not read."""
    for name in _COLUMNS:
        if columns.count(name) > 1:
            raise JobError(f"the header has {columns.count(name)} columns {name}", where=path)
    _say_unread((name for name in columns if name not in _COLUMNS), path, notice)


def _say_unread(names: Iterable[str], path: Path, notice: Notice | None) -> None:
    """Say what a list holds that is not read: it may be a misspelled name."""
    unread = [name for name in dict.fromkeys(names) if name]
    if unread and notice is not None:
        shown = ", ".join(name[:40] for name in unread[:_MOST_SHOWN])
        more = f" and {len(unread) - _MOST_SHOWN} more" if len(unread) > _MOST_SHOWN else ""
        notice(f"{path}: not read: {shown}{more}")


def _read_json_lines(
    path: Path, text: str, folder: _VideoFolder, notice: Notice | None
) -> Iterator[JobLine]:
    unread: dict[str, None] = {}
    for where, entry in _json_objects(path, text):
        unread.update(dict.fromkeys(name for name in entry if name not in _KEYS))
        yield folder.place(_json_line(entry, path, where))
    _say_unread(unread, path, notice)


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
        return json.loads(text, object_pairs_hook=unique_names)
    except RecursionError as error:
        raise JobError(f"{what} is nested too deeply", where=where) from error
    except ValueError as error:
        raise JobError(f"{what} is not valid JSON: {json_fault(error)}", where=where) from error


def _json_line(entry: dict[str, Any], path: Path, where: str) -> JobLine:
    if not isinstance(entry.get("video"), str) or not entry["video"].strip():
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
    rewrites = entry.get("rewrites", [])
    if not isinstance(rewrites, list) or not all(isinstance(text, str) for text in rewrites):
        raise JobError("rewrites is a list of sentences", where=where)
    if rewrites and len(queries) != 1:
        raise JobError(
            "rewrites are other wordings of one query",
            where=where,
            remedy='Write {"video": "film.mp4", "query": "a dog", "rewrites": ["a puppy"]}',
        )
    like = entry.get("like", [])
    like = [like] if isinstance(like, str) else like
    if not isinstance(like, list) or not all(isinstance(one, str) and one for one in like):
        raise JobError("like is the path of a picture, or a list of them", where=where)
    name = entry.get("id")
    if name is not None and (isinstance(name, bool) or not isinstance(name, (str, int))):
        raise JobError("id is text or a number", where=where)
    return JobLine(
        _locate(entry["video"], path),
        tuple(queries),
        None if name is None else str(name),
        tuple(rewrites),
        tuple(_locate(one, path) for one in like),
    )


def _locate(name: str, listed_in: Path) -> str:
    """A listed path as it is, or beside the list where only that exists."""
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        # Half of a surrogate pair, which no file's name has and nothing can write.
        name = unicode_name(name)
    if is_address(name):
        return name
    # Names that no file can have, too long ones for instance, do not exist; reading says so.
    beside = os.path.join(listed_in.parent, name)
    return beside if not os.path.exists(name) and os.path.exists(beside) else name


def is_address(name: str) -> bool:
    """Whether a name is a URL, which is never looked for on disk."""
    return _ADDRESS.match(name) is not None


def _utf8_text(path: Path, what: str) -> str:
    try:
        return read_input(path, limit=LARGEST_TEXT).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise JobError(
            f"the {what} is not UTF-8 text", where=path, remedy="Save it as UTF-8"
        ) from error
    except (OSError, ValueError) as error:
        # ValueError: a name with a NUL in it.
        reason = getattr(error, "strerror", None) or error
        raise JobError(f"cannot read the {what}: {reason}", where=path) from error
