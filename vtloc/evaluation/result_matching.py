"""Answers out of a results file of ``vtloc-run``, matched with annotations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from vtloc.tensor_file import read_whole
from vtloc_runtime.batch.results.records import decode_record
from vtloc_runtime.errors import OutputError
from vtloc_runtime.localize.spans.moments import Moment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from vtloc.annotations.examples import Example

Moments: TypeAlias = tuple[Moment, ...]


@dataclass(frozen=True, slots=True)
class MatchedAnswers:
    """The answers of a results file to annotated queries.

    Attributes:
        pairs: True moments and answered moments of each labelled query; the second are empty
            where the answer is missing or was "no such moment".
        unanswered: Queries without a record, or whose job failed.
        unmatched: Records of the file that belong to no annotated query.
    """

    pairs: tuple[tuple[Moments, Moments], ...]
    unanswered: int
    unmatched: int


def match_records(path: Path, examples: Sequence[Example]) -> MatchedAnswers:
    """Match a results file with annotations.

    A record belongs to the query with its id, video and sentence: an id alone does not suffice,
    since the two validation files of ActivityNet share theirs. Records with other ids, of a run on
    a list of one's own, are matched by video and sentence. A video's name is that of its file,
    with or without suffix. Of several records for one query the last counts, as a later run
    repairs an earlier one.

    Args:
        path: The results file, JSON lines.
        examples: The annotations; those without moments are left out.

    Raises:
        OutputError: The file is missing or not a results file, or no record matches a query.
    """
    answers = _read_answers(path)
    exact = {(key.id, name, key.query): key for key in answers for name in key.names}
    alike = {(name, key.query): key for key in answers for name in key.names}
    pairs, unanswered = [], 0
    matched: set[_Job] = set()
    for example in examples:
        if not example.moments:
            continue
        asked = (example.video, _one_line(example.query))
        key = exact.get((example.id, *asked)) or alike.get(asked)
        moments = None if key is None else answers[key]
        if key is not None:
            matched.add(key)
        unanswered += moments is None
        pairs.append((example.moments, moments or ()))
    if not matched:
        raise OutputError(
            "no record matches an annotated query",
            where=path,
            remedy="Name video files as the benchmark does, and ask its sentences as they are",
        )
    return MatchedAnswers(tuple(pairs), unanswered, len(answers.keys() - matched))


class _Job(NamedTuple):
    """What a record answers: the job's id, the video's path, and the sentence."""

    id: str
    video: str
    query: str

    @property
    def names(self) -> tuple[str, str]:
        """The video's name without and with its suffix."""
        path = PurePath(self.video)
        return path.stem, path.name


def _read_answers(path: Path) -> dict[_Job, Moments | None]:
    """The moments of each job, None where it failed; later records replace earlier ones."""
    answers: dict[_Job, Moments | None] = {}
    for number, line in enumerate(read_whole(path, OutputError).split(b"\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            record = decode_record(line, where=where)
        except (ValueError, RecursionError) as error:
            raise OutputError(f"the line is not a record: {error}", where=where) from error
        moments = None
        if record.moments is not None:
            moments = tuple(Moment(m.start, m.end, m.score) for m in record.moments)
        job = _Job(record.id, record.video, _one_line(record.query))
        # The last record comes last, also where it repairs the first.
        answers.pop(job, None)
        answers[job] = moments
    return answers


def _one_line(query: str) -> str:
    return " ".join(query.split())
