"""Answers out of a results file of ``vtloc-run``, matched with annotations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from vtloc.tensor_file import read_whole
from vtloc_runtime.batch.records import decode_record
from vtloc_runtime.errors import OutputError
from vtloc_runtime.localize.moments import Moment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from vtloc.annotations.examples import Example


@dataclass(frozen=True, slots=True)
class MatchedAnswers:
    """What a results file says about annotated queries.

    Attributes:
        pairs: True moments and answer, a labelled query each; no answer is an empty one.
        unanswered: Queries that the file does not hold, or whose job failed.
        strangers: Records of the file that belong to no annotated query.
    """

    pairs: tuple[tuple[tuple[Moment, ...], tuple[Moment, ...]], ...]
    unanswered: int
    strangers: int


def match_records(path: Path, examples: Sequence[Example]) -> MatchedAnswers:
    """Match a results file with annotations, by the video's name and the sentence.

    A video's name is that of its file, with or without suffix. Of several records for one query
    the last counts, as a later run repairs an earlier one.

    Args:
        path: The results file, JSON lines.
        examples: The annotations; those without labels are passed over.

    Raises:
        OutputError: The file is missing or no results file, or nothing in it matches.
    """
    answers: dict[tuple[str, str], tuple[Moment, ...] | None] = {}
    for number, line in enumerate(read_whole(path, OutputError).split(b"\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            record = decode_record(line, where=where)
        except (ValueError, RecursionError) as error:
            raise OutputError(f"the line is not a record: {error}", where=where) from error
        found = record.moments
        moments = None if found is None else tuple(Moment(m.start, m.end, m.score) for m in found)
        answers[PurePath(record.video).name, _plain(record.query)] = moments
    pairs, unanswered = [], 0
    matched: set[tuple[str, str]] = set()
    stems = {(PurePath(video).stem, query): (video, query) for video, query in answers}
    for example in examples:
        if not example.moments:
            continue
        asked = (example.video, _plain(example.query))
        key = asked if asked in answers else stems.get(asked)
        answer = None if key is None else answers[key]
        if key is not None:
            matched.add(key)
        unanswered += answer is None
        pairs.append((example.moments, answer or ()))
    if not matched:
        raise OutputError(
            "no record matches an annotated query",
            where=path,
            remedy="Name video files as the benchmark does, and ask its sentences as they are",
        )
    return MatchedAnswers(tuple(pairs), unanswered, len(answers.keys() - matched))


def _plain(query: str) -> str:
    return " ".join(query.split())
