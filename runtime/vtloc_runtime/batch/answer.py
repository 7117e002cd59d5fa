"""Answer the sentences of a run: each video is encoded once, for all its sentences together."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vtloc_runtime.batch.encode import encode_cached, encode_quickly_cached
from vtloc_runtime.batch.job_lists.jobs import VideoJobs
from vtloc_runtime.batch.results.records import FileState, Record, answer_record, failure_record
from vtloc_runtime.batch.workers.worker_pool import PipelineOptions, StoppedWorkError, run_tasks
from vtloc_runtime.errors import BundleError, DeviceLostError, QueryError, UsageError
from vtloc_runtime.system.arguments import check_callable, check_flags, check_kind, check_text
from vtloc_runtime.system.text import unicode_name
from vtloc_runtime.video.decoders.choice import PROCESSOR

if TYPE_CHECKING:
    from vtloc_runtime.batch.job_lists.jobs import Job
    from vtloc_runtime.batch.run import Progress
    from vtloc_runtime.errors import ClusterError
    from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo
    from vtloc_runtime.localize.encoding.feature_cache import FeatureCache
    from vtloc_runtime.localize.localizer import Localizer
    from vtloc_runtime.video.isolation.chunks import Read


def run_jobs(
    localizer: Localizer,
    videos: Iterable[VideoJobs],
    *,
    moments: int = 1,
    fine: bool = False,
    run: str = "",
    options: PipelineOptions | None = None,
    progress: Progress | None = None,
    stop: Callable[[], bool] | None = None,
) -> Generator[list[Record], None, None]:
    """Answer jobs. If a video fails, only its own jobs fail.

    Args:
        localizer: Answers the jobs.
        videos: The jobs, grouped by video.
        moments: Number of moments to return for each sentence, at most.
        fine: Whether to look at each video again, for finer ends.
        run: Fingerprint of everything that answers depend on; it is copied into the records.
        options: How the videos are processed.
        progress: Called with a video and the time of its last encoded frame, seconds, from any
            thread.
        stop: Called before each video; once it returns True, no more videos are started.

    Yields:
        The records of one video, in the order of its jobs.

    Raises:
        UsageError: An argument is of another type, or ``moments`` is not from 1 to 100.
    """
    # Imported here, because the localizer's module loads the networks' packages.
    from vtloc_runtime.localize.limits import check_moments
    from vtloc_runtime.localize.localizer import Localizer

    check_kind(localizer, Localizer, "localizer")
    check_moments(moments)
    check_flags(fine=fine)
    check_text(run, "run")
    if progress is not None:
        check_callable(progress, "progress")
    if stop is not None:
        check_callable(stop, "stop")
    options = PipelineOptions() if options is None else options
    check_kind(options, PipelineOptions, "options")
    tasks = list(videos)
    for task in tasks:
        check_kind(task, VideoJobs, "an entry of videos")
    if options.decoder is None and localizer.encoder.decoder != PROCESSOR:
        # Workers of one GPU share a process only where they know that they decode on it.
        options = replace(options, decoder=localizer.encoder.decoder)
    work = AnswerVideos(moments, run, options.cache, fine=fine)
    return run_tasks(
        lambda video, read: work.do(localizer, video, read, progress=progress, stop=stop),
        tasks,
        options,
        stop=stop,
    )


@dataclass(frozen=True, slots=True)
class AnswerVideos:
    """The work of ``vtloc-run``: answer every job of each video.

    Attributes:
        moments: Number of moments to return for each sentence, at most.
        run: Fingerprint of everything that answers depend on; it is copied into the records.
        cache: Where encoded videos are kept; None keeps none.
        quick: Look only at keyframes and around the best candidates.
        fine: Whether to look at each video again, for finer ends.
    """

    moments: int = 1
    run: str = ""
    cache: FeatureCache | None = None
    quick: bool = False
    fine: bool = False

    def do(
        self,
        localizer: Localizer,
        task: VideoJobs,
        read: Read,
        *,
        progress: Progress | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> list[Record]:
        """Answer every job of one video; errors become records.

        Raises:
            StoppedWorkError: The decoder was ended while the run is being stopped.
            DeviceLostError: The GPU failed, and no more videos can be answered.
            BundleError: A network that was needed only now cannot be opened.
        """
        state = FileState.read(task.video)
        jobs, records = self._check(
            task.jobs, state, lambda job: localizer.check_query(job.question)
        )
        if jobs:
            try:
                jobs, refused = self._check(
                    jobs, state, lambda job: localizer.encode_pictures(job.question, read=read)
                )
                records += refused
                if jobs:
                    video = self._encode(
                        localizer, task.video, jobs, read=read, progress=progress, stop=stop
                    )
                    records += self._answer(localizer, video, jobs, state, read=read)
            except (StoppedWorkError, DeviceLostError, BundleError):
                # Without the GPU or the network every later video would fail, and be blamed for it.
                raise
            except Exception as error:  # noqa: BLE001 - one video's failure must not end the run
                records += [failure_record(job, error, run=self.run, state=state) for job in jobs]
        order = {unicode_name(job.id): place for place, job in enumerate(task.jobs)}
        return sorted(records, key=lambda record: order[record.id])

    def give_up(self, task: VideoJobs, error: ClusterError) -> list[Record]:
        """The records of a video whose workers were all lost."""
        return [failure_record(job, error, run=self.run) for job in task.jobs]

    def _encode(
        self,
        localizer: Localizer,
        video: str,
        jobs: list[Job],
        *,
        read: Read,
        progress: Progress | None,
        stop: Callable[[], bool] | None,
    ) -> EncodedVideo:
        if not self.quick:
            return encode_cached(
                localizer, video, cache=self.cache, progress=progress, read=read, stop=stop
            )
        return encode_quickly_cached(
            localizer,
            video,
            [job.question for job in jobs],
            moments=self.moments,
            cache=self.cache,
            read=read,
            stop=stop,
        )

    def _check(
        self, jobs: Iterable[Job], state: FileState | None, check: Callable[[Job], None]
    ) -> tuple[list[Job], list[Record]]:
        """The jobs whose questions can be asked, and records of the others."""
        valid, refused = [], []
        for job in jobs:
            try:
                check(job)
            except (QueryError, UsageError) as error:
                refused.append(failure_record(job, error, run=self.run, state=state))
            else:
                valid.append(job)
        return valid, refused

    def _answer(
        self,
        localizer: Localizer,
        video: EncodedVideo,
        jobs: list[Job],
        state: FileState | None,
        *,
        read: Read,
    ) -> list[Record]:
        start = time.perf_counter()
        questions = [job.question for job in jobs]
        answers = localizer.localize(video, questions, moments=self.moments, read=read)
        if self.fine:
            answers = localizer.refine(jobs[0].video, video, answers, read=read)
        timings = {**video.timings, "localize": time.perf_counter() - start}
        return [
            answer_record(
                job,
                answer,
                video,
                backend=localizer.backend,
                run=self.run,
                timings=timings,
                state=state,
            )
            for job, answer in zip(jobs, answers, strict=True)
        ]
