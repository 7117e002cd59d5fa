"""From jobs to records: each video encoded once, all its sentences answered together."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from vtloc_runtime.errors import QueryError
from vtloc_runtime.results import Record, answer_record, failure_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from vtloc_runtime.encoding import EncodedVideo
    from vtloc_runtime.jobs import Job, VideoJobs
    from vtloc_runtime.localizer import Localizer


def run_jobs(
    localizer: Localizer,
    videos: Iterable[VideoJobs],
    *,
    moments: int = 1,
    run: str = "",
    progress: Callable[[str, float], None] | None = None,
) -> Iterator[list[Record]]:
    """Answer jobs, one video after another; a video that fails costs its own jobs only.

    Args:
        localizer: What answers.
        videos: The jobs, grouped by video.
        moments: Moments wanted for each sentence at most.
        run: What the answers depend on, for the records.
        progress: Told the video at hand and how far into it the reading has come, seconds.

    Yields:
        The records of one video, in the order of its jobs.
    """
    for video in videos:
        yield answer_video(localizer, video, moments=moments, run=run, progress=progress)


def answer_video(
    localizer: Localizer,
    video: VideoJobs,
    *,
    moments: int = 1,
    run: str = "",
    progress: Callable[[str, float], None] | None = None,
) -> list[Record]:
    """Answer every job of one video; whatever fails becomes a record.

    Args:
        localizer: What answers.
        video: The jobs that share the video.
        moments: Moments wanted for each sentence at most.
        run: What the answers depend on, for the records.
        progress: Told the video and how far into it the reading has come, seconds.
    """

    def reached(seconds: float) -> None:
        if progress is not None:
            progress(video.video, seconds)

    askable, refused = sort_out_queries(localizer, video.jobs, run=run)
    found: list[Record] = []
    if askable:
        try:
            encoded = localizer.encode_video(video.video, progress=reached)
            found = answer_jobs(localizer, encoded, askable, moments=moments, run=run)
        except Exception as error:  # noqa: BLE001 - one video's failure must not end the run
            found = [failure_record(job, error, run=run) for job in askable]
    by_id = {record.id: record for record in (*refused, *found)}
    return [by_id[job.id] for job in video.jobs]


def sort_out_queries(
    localizer: Localizer, jobs: Iterable[Job], *, run: str
) -> tuple[list[Job], list[Record]]:
    """The jobs whose sentences can be searched for, and records of those that cannot."""
    askable, refused = [], []
    for job in jobs:
        try:
            localizer.check_query(job.query)
        except QueryError as error:
            refused.append(failure_record(job, error, run=run))
        else:
            askable.append(job)
    return askable, refused


def answer_jobs(
    localizer: Localizer, video: EncodedVideo, jobs: list[Job], *, moments: int, run: str
) -> list[Record]:
    """Answer the jobs of a video that is encoded already.

    Raises:
        VtlocError: The localizer failed.
    """
    began = time.perf_counter()
    answers = localizer.localize(video, [job.query for job in jobs], moments=moments)
    timings = {**video.timings, "localize": time.perf_counter() - began}
    return [
        answer_record(job, answer, video, backend=localizer.backend, run=run, timings=timings)
        for job, answer in zip(jobs, answers, strict=True)
    ]
