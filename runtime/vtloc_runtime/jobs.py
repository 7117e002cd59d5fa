"""What to find where: sentences and videos, from the command line or from lists.

A job is one sentence in one video. Its id stays the same from run to run, so that a run that was
cut off can go on.
"""

from __future__ import annotations

import csv
import glob
import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vtloc_runtime.errors import JobError, UsageError

# fmt: off
VIDEO_SUFFIXES = frozenset({
    ".3gp", ".avi", ".divx", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg",
    ".mpg", ".mts", ".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv", ".y4m",
})
# fmt: on
LIST_SUFFIXES = frozenset({".txt", ".csv", ".jsonl"})


@dataclass(frozen=True, slots=True)
class Job:
    """One sentence to find in one video.

    Attributes:
        id: Stable name of the job, unique within a run.
        video: The video's path or address, as it was given.
        query: The sentence.
    """

    id: str
    video: str
    query: str


@dataclass(frozen=True, slots=True)
class VideoJobs:
    """The jobs that share one video, and so its encoding.

    Attributes:
        video: The video's path or address.
        jobs: In the order in which they were asked.
    """

    video: str
    jobs: tuple[Job, ...]


@dataclass(frozen=True, slots=True)
class _Line:
    video: str
    queries: tuple[str, ...]
    id: str | None = None


def read_jobs(inputs: Sequence[str], queries: Sequence[str] = ()) -> list[Job]:
    """Expand videos, folders, patterns and lists into jobs.

    Args:
        inputs: Paths of videos, folders of them, patterns such as ``clips/*.mp4``, or lists:
            ``.txt`` (a video a line), ``.csv`` (columns ``video``, ``query`` and, if wanted,
            ``id``) or ``.jsonl`` (objects with ``video`` and ``query`` or ``queries``).
        queries: Sentences for every video that brings none of its own.

    Raises:
        JobError: A list cannot be read, or says nothing that could be searched for.
        UsageError: A video comes without a sentence.
    """
    jobs: list[Job] = []
    given: Counter[str] = Counter()
    repeated: Counter[tuple[str, str]] = Counter()
    for line in _lines(inputs):
        asked = line.queries or tuple(queries)
        if not asked:
            raise UsageError(
                "no sentence to look for", where=line.video, remedy='Add one with -q "sentence"'
            )
        for index, query in enumerate(asked):
            if line.id is None:
                repeated[line.video, query] += 1
                name = _job_id(line.video, query, repeated[line.video, query])
            else:
                name = line.id if len(asked) == 1 else f"{line.id}.{index + 1}"
            given[name] += 1
            if given[name] > 1:
                raise JobError(f"the id {name!r} stands twice", where=line.video)
            jobs.append(Job(name, line.video, query))
    return jobs


def read_videos(inputs: Sequence[str]) -> list[str]:
    """Expand videos, folders, patterns and lists into videos, each once, in order.

    Args:
        inputs: As ``read_jobs`` takes them; sentences in lists are passed over.

    Raises:
        JobError: A list cannot be read, or names no video.
    """
    return list(dict.fromkeys(line.video for line in _lines(inputs)))


def group_by_video(jobs: Iterable[Job]) -> list[VideoJobs]:
    """Put jobs of one video together, videos in the order of their first job."""
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        groups.setdefault(job.video, []).append(job)
    return [VideoJobs(video, tuple(members)) for video, members in groups.items()]


def _job_id(video: str, query: str, occurrence: int) -> str:
    # Surrogates stand for bytes of file names that are no text.
    content = f"{video}\0{query}".encode("utf-8", "surrogatepass")
    name = hashlib.sha256(content).hexdigest()[:16]
    return name if occurrence == 1 else f"{name}-{occurrence}"


def _lines(inputs: Sequence[str]) -> Iterator[_Line]:
    for item in inputs:
        path = Path(item)
        if path.is_dir():
            yield from _folder(path)
        elif path.suffix.lower() in LIST_SUFFIXES:
            yield from _list(path)
        elif not path.exists() and glob.has_magic(item):
            # A pattern is relative to where the user stands, which Path.glob cannot say.
            found = sorted(glob.glob(item, recursive=True))  # noqa: PTH207 - see above
            if not found:
                raise JobError("no file matches the pattern", where=item)
            yield from (_Line(name, ()) for name in found if Path(name).is_file())
        else:
            yield _Line(item, ())


def _folder(folder: Path) -> Iterator[_Line]:
    try:
        files = sorted(
            file
            for file in folder.rglob("*")
            if file.suffix.lower() in VIDEO_SUFFIXES and file.is_file()
        )
    except OSError as error:
        raise JobError(f"cannot list the folder: {error.strerror}", where=folder) from error
    if not files:
        raise JobError(
            "the folder holds no video",
            where=folder,
            remedy=f"Videos are told by their endings: {' '.join(sorted(VIDEO_SUFFIXES))}",
        )
    return (_Line(str(file), ()) for file in files)


def _list(path: Path) -> list[_Line]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise JobError(f"cannot read the list: {error.strerror}", where=path) from error
    except UnicodeDecodeError as error:
        raise JobError("the list is not UTF-8 text", where=path) from error
    readers = {".txt": _read_text, ".csv": _read_csv, ".jsonl": _read_json_lines}
    lines = list(readers[path.suffix.lower()](path, text))
    if not lines:
        raise JobError("the list is empty", where=path)
    return lines


def _read_text(path: Path, text: str) -> Iterator[_Line]:
    for line in text.splitlines():
        if (name := line.strip()) and not name.startswith("#"):
            yield _Line(_locate(name, path), ())


def _read_csv(path: Path, text: str) -> Iterator[_Line]:
    rows = csv.DictReader(io.StringIO(text), strict=True)
    try:
        columns = [name.strip().lower() for name in rows.fieldnames or ()]
        rows.fieldnames = columns
        if "video" not in columns:
            raise JobError(
                f"the list has columns {', '.join(columns) or 'none'}, not video",
                where=path,
                remedy="Begin it with the line: video,query",
            )
        for row in rows:
            where = f"{path}:{rows.line_num}"
            if not (row["video"] or "").strip():
                raise JobError("the row names no video", where=where)
            if None in row:
                raise JobError(
                    "the row has more fields than the header",
                    where=where,
                    remedy='Put sentences with commas into "quotation marks"',
                )
            queries = (row["query"] or "",) if "query" in columns else ()
            yield _Line(_locate(row["video"].strip(), path), queries, row.get("id") or None)
    except csv.Error as error:
        raise JobError(f"the row is no CSV: {error}", where=f"{path}:{rows.line_num}") from error


def _read_json_lines(path: Path, text: str) -> Iterator[_Line]:
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise JobError(f"the line is no JSON: {error}", where=where) from error
        yield _json_line(entry, path, where)


def _json_line(entry: Any, path: Path, where: str) -> _Line:
    if not isinstance(entry, dict) or not isinstance(entry.get("video"), str):
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
    if name is not None and not isinstance(name, (str, int)):
        raise JobError("id is text or a number", where=where)
    return _Line(_locate(entry["video"], path), tuple(queries), None if name is None else str(name))


def _locate(name: str, listed_in: Path) -> str:
    """A listed path as it stands, or beside the list where only that exists."""
    beside = listed_in.parent / name
    return str(beside) if not Path(name).exists() and beside.exists() else name
