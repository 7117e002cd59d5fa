"""Which jobs of a run are done already, according to its results file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from vtloc_runtime.batch.results.records import FileState, Record
from vtloc_runtime.errors import JobError
from vtloc_runtime.localize.spans.moments import asked_text
from vtloc_runtime.system.text import unicode_name

if TYPE_CHECKING:
    from vtloc_runtime.batch.job_lists.jobs import Job
    from vtloc_runtime.batch.results.results_file import ResultsFile


def take_done(
    results: ResultsFile, jobs: Sequence[Job], *, retry_failed: bool = False
) -> Iterator[Record]:
    """Find the jobs that are done, and remove the records of jobs that must be repeated.

    A job is done if the record with its id has its video and sentence, the video file has not
    changed, and the error, if it failed, was its own.

    Args:
        results: The results file of an earlier run.
        jobs: The jobs of this one.
        retry_failed: Repeat jobs that failed.

    Yields:
        The records of jobs that are done, each once.

    Raises:
        JobError: An id of these jobs belongs to another job in the file.
        OutputError: The file cannot be rewritten.
    """
    wanted: dict[str, Job] = {}
    seen: set[str] = set()
    again: set[str] = set()
    states: dict[str, FileState | None] = {}
    for record in results.records():
        wanted = wanted or {unicode_name(job.id): job for job in jobs}
        job = wanted.get(record.id)
        if job is None or record.id in seen:
            continue
        seen.add(record.id)
        _check_same_job(record, job, results)
        if job.video not in states:
            states[job.video] = FileState.read(job.video)
        failed = record.failed and (retry_failed or not record.final)
        if failed or record.is_outdated(states[job.video]):
            again.add(record.id)
        else:
            yield record
    results.drop(again)


def _check_same_job(record: Record, job: Job, results: ResultsFile) -> None:
    video = unicode_name(job.video)
    parts = ((job.query,), job.rewrites, job.like)
    question = [tuple(map(unicode_name, part)) for part in parts]
    if video != record.video or question != [(record.query,), record.rewrites, record.like]:
        asked = unicode_name(asked_text(job.query, job.rewrites, job.like))
        raise JobError(
            f"the id {record.id!r} belongs to another job there: {record.asked!r} in "
            f"{record.video}, not {asked!r} in {video}",
            where=results.path,
            remedy="Give the job another id, choose another --out, or replace the results with "
            "--overwrite",
        )
