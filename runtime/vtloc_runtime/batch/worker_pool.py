"""From jobs to records: many videos at once, each encoded once, all its sentences together.

Symmetric lanes, each a thread with a decoder process of its own: while the process decodes the
next frames, the thread encodes the last ones and, at the video's end, answers its sentences. All
lanes share one localizer. A lane holds two chunks of frames and one video's features, so memory
is bounded by the number of lanes, whatever the videos.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Generic, TypeVar

from vtloc_runtime.batch.decoder_lanes import AUTO, decoding_by, lane_decoders
from vtloc_runtime.batch.records import FileState, Record, answer_record, failure_record
from vtloc_runtime.batch.task_order import in_task_order
from vtloc_runtime.errors import DecoderLostError, DeviceLostError, QueryError
from vtloc_runtime.system.processors import available_processors
from vtloc_runtime.video.decoders.choice import PROCESSOR
from vtloc_runtime.video.isolation.chunks import Read, read_here
from vtloc_runtime.video.isolation.decoder_process import DecoderLimits, DecoderProcess

if TYPE_CHECKING:
    from vtloc_runtime.batch.jobs import Job, VideoJobs
    from vtloc_runtime.localize.encoded_video import EncodedVideo
    from vtloc_runtime.localize.feature_cache import FeatureCache
    from vtloc_runtime.localize.localizer import Localizer

_Task = TypeVar("_Task")
_Answer = TypeVar("_Answer")

Progress = Callable[[str, float], None]
"""Told a video and how far into it the reading has come, seconds; called from any lane."""


_SETTLING = 0.2
"""Seconds after a decoder's end in which a signal to the whole group reaches this process."""


class StoppedWorkError(Exception):
    """A task was given up because the run stops; it has no result."""


@dataclass(frozen=True, slots=True)
class PipelineOptions:
    """How the work is spread.

    Attributes:
        lanes: Videos under way at once; None takes one a processor.
        isolated: Decode in processes of their own, so that a crash costs one video only.
        limits: How far each decoder process may go.
        in_order: Give results in the order of the videos, not as they come.
        cache: Where encoded videos are kept; None keeps none.
        decoder: What decodes in the lanes, as `lane_decoders` takes it; None leaves that to the
            localizer.
        device: Where the networks run; NVDEC decodes on the same GPUs.
    """

    lanes: int | None = None
    isolated: bool = True
    limits: DecoderLimits = field(default_factory=DecoderLimits)
    in_order: bool = False
    cache: FeatureCache | None = None
    decoder: str | None = None
    device: str | None = None

    def lanes_for(self, videos: int) -> int:
        """Lanes worth opening for so many videos."""
        return max(1, min(len(self.decoders()), videos))

    def decoders(self) -> list[str | None]:
        """What decodes in each lane; None where the localizer says."""
        if self.decoder is None:
            return [None] * (self.lanes or available_processors())
        return [*lane_decoders(self.decoder, self.device, self.lanes)]


def run_jobs(
    localizer: Localizer,
    videos: Iterable[VideoJobs],
    *,
    moments: int = 1,
    run: str = "",
    options: PipelineOptions | None = None,
    progress: Progress | None = None,
    stop: Callable[[], bool] | None = None,
) -> Generator[list[Record], None, None]:
    """Answer jobs; a video that fails costs its own jobs only.

    Args:
        localizer: What answers.
        videos: The jobs, grouped by video.
        moments: Moments wanted for each sentence at most.
        run: What the answers depend on, for the records.
        options: How the work is spread.
        progress: Told how far each reading has come.
        stop: Asked before each video; once it says True no more are begun.

    Yields:
        The records of one video, in the order of its jobs.

    Raises:
        UsageError: ``moments`` is not a whole number from 1 to 100.
    """
    # Here, for the localizer's module brings the networks along.
    from vtloc_runtime.localize.localizer import check_moments

    check_moments(moments)
    chosen = options or PipelineOptions()

    def work(video: VideoJobs, read: Read) -> list[Record]:
        return answer_video(
            localizer,
            video,
            moments=moments,
            run=run,
            cache=chosen.cache,
            progress=progress,
            read=read,
            stop=stop,
        )

    return run_lanes(work, list(videos), chosen, stop=stop)


def answer_video(
    localizer: Localizer,
    video: VideoJobs,
    *,
    moments: int = 1,
    run: str = "",
    cache: FeatureCache | None = None,
    progress: Progress | None = None,
    read: Read = read_here,
    stop: Callable[[], bool] | None = None,
) -> list[Record]:
    """Answer every job of one video; whatever fails becomes a record, but for a lost GPU.

    Args:
        localizer: What answers.
        video: The jobs that share the video.
        moments: Moments wanted for each sentence at most.
        run: What the answers depend on, for the records.
        cache: Where encoded videos are kept.
        progress: Told how far the reading has come.
        read: Where the decoding happens.
        stop: Whether the run is being stopped.

    Raises:
        StoppedWorkError: The decoder was ended while the run is being stopped.
        DeviceLostError: The GPU failed, and no video can be answered any more.
    """
    state = FileState.read(video.video)
    askable, refused = _sort_out_queries(localizer, video.jobs, run=run, state=state)
    found: list[Record] = []
    if askable:
        try:
            encoded = encode_cached(
                localizer, video.video, cache=cache, progress=progress, read=read, stop=stop
            )
            found = _answer_jobs(localizer, encoded, askable, moments=moments, run=run, state=state)
        except (StoppedWorkError, DeviceLostError):
            # With a lost GPU every later video would fail, and its record would blame the video.
            raise
        except Exception as error:  # noqa: BLE001 - one video's failure must not end the run
            found = [failure_record(job, error, run=run, state=state) for job in askable]
    by_id = {record.id: record for record in (*refused, *found)}
    return [by_id[job.id] for job in video.jobs]


def encode_cached(
    localizer: Localizer,
    video: str,
    *,
    cache: FeatureCache | None = None,
    progress: Progress | None = None,
    read: Read = read_here,
    stop: Callable[[], bool] | None = None,
) -> EncodedVideo:
    """Encode a video, or take it from the cache.

    Args:
        localizer: What encodes.
        video: A path or an address.
        cache: Where encoded videos are kept.
        progress: Told how far the reading has come.
        read: Where the decoding happens.
        stop: Whether the run is being stopped.

    Raises:
        VideoError: The video cannot be read.
        StoppedWorkError: The decoder was ended while the run is being stopped.
    """

    def encode() -> EncodedVideo:
        return encode_again(localizer, video, progress=progress, read=read, stop=stop)

    if cache is None:
        return encode()
    return cache.fetch(video, localizer.encoder.signature, encode)


def encode_again(
    localizer: Localizer,
    video: str,
    *,
    progress: Progress | None = None,
    read: Read = read_here,
    stop: Callable[[], bool] | None = None,
) -> EncodedVideo:
    """Encode a video, and once more where its decoder was ended by a signal.

    Args:
        localizer: What encodes.
        video: A path or an address.
        progress: Told how far the reading has come; what it raises is passed over.
        read: Where the decoding happens.
        stop: Whether the run is being stopped.

    Raises:
        VideoError: The video cannot be read.
        StoppedWorkError: The decoder was ended while the run is being stopped.
    """

    def reached(seconds: float) -> None:
        if progress is not None:
            with suppress(Exception):
                progress(video, seconds)

    for last in (False, True):
        try:
            return localizer.encode_video(video, progress=reached, read=read)
        except DecoderLostError as error:
            # A signal to the whole group ends decoders before this process has heard of it.
            time.sleep(_SETTLING)
            if stop is not None and stop():
                raise StoppedWorkError from error
            if last:
                raise
    raise AssertionError("unreachable")


def run_lanes(
    work: Callable[[_Task, Read], _Answer],
    tasks: list[_Task],
    options: PipelineOptions,
    *,
    stop: Callable[[], bool] | None = None,
) -> Generator[_Answer, None, None]:
    """Do tasks in several lanes at once, each with a reader of its own.

    Args:
        work: Does one task; ``StoppedWorkError`` gives no result, any other error ends the run.
        tasks: What to do.
        options: How the work is spread.
        stop: Asked before each task; once it says True no more are begun.

    Yields:
        What ``work`` gave, as it comes or in the order of the tasks.
    """
    lanes = _Lanes(work, tasks, options, stop or (lambda: False))
    try:
        found = lanes.run()
        yield from in_task_order(found) if options.in_order else (answer for _, answer in found)
    finally:
        lanes.close()


class _Lanes(Generic[_Task, _Answer]):
    def __init__(
        self,
        work: Callable[[_Task, Read], _Answer],
        tasks: list[_Task],
        options: PipelineOptions,
        stop: Callable[[], bool],
    ) -> None:
        self._work = work
        self._todo = iter(enumerate(tasks))
        self._stop = stop
        self._taking = threading.Lock()
        self._stack = ExitStack()
        count = options.lanes_for(len(tasks)) if tasks else 0
        # A lane that is ahead of whoever takes the results waits, so none pile up.
        self._done: queue.Queue[tuple[int, _Answer] | BaseException | None] = queue.Queue(2 * count)
        self._closed = False
        self._threads = []
        for number, decoder in enumerate(options.decoders()[:count]):
            read: Read = read_here
            if options.isolated:
                limits = options.limits
                if decoder not in {None, PROCESSOR}:
                    # CUDA reserves more address space than any limit that would mean something.
                    limits = replace(limits, memory=0)
                read = self._stack.enter_context(DecoderProcess(limits)).read
            if decoder is not None:
                read = decoding_by(read, decoder, otherwise=options.decoder == AUTO)
            thread = threading.Thread(
                target=self._lane, args=(read,), name=f"lane {number}", daemon=True
            )
            self._threads.append(thread)

    def run(self) -> Iterator[tuple[int, _Answer]]:
        """Number and result of each task, as they come."""
        for thread in self._threads:
            thread.start()
        working = len(self._threads)
        while working:
            # A wait without end would keep Ctrl-C from being heard.
            try:
                found = self._done.get(timeout=0.5)
            except queue.Empty:
                continue
            if found is None:
                working -= 1
            elif isinstance(found, BaseException):
                raise found
            else:
                yield found

    def close(self) -> None:
        """End the decoders, and with them the lanes."""
        self._closed = True
        self._stack.close()
        for thread in self._threads:
            while thread.is_alive():
                self._drain()
                thread.join(timeout=0.05)

    def _drain(self) -> None:
        try:
            while True:
                self._done.get_nowait()
        except queue.Empty:
            return

    def _lane(self, read: Read) -> None:
        try:
            while (task := self._take()) is not None:
                with suppress(StoppedWorkError):
                    self._done.put((task[0], self._work(task[1], read)))
            self._done.put(None)
        except BaseException as error:  # noqa: BLE001 - raised again where results are taken
            self._done.put(error)

    def _take(self) -> tuple[int, _Task] | None:
        with self._taking:
            if self._closed or self._stop():
                return None
            return next(self._todo, None)


def _sort_out_queries(
    localizer: Localizer, jobs: Iterable[Job], *, run: str, state: FileState | None
) -> tuple[list[Job], list[Record]]:
    """The jobs whose sentences can be searched for, and records of those that cannot."""
    askable, refused = [], []
    for job in jobs:
        try:
            localizer.check_query(job.query)
        except QueryError as error:
            refused.append(failure_record(job, error, run=run, state=state))
        else:
            askable.append(job)
    return askable, refused


def _answer_jobs(
    localizer: Localizer,
    video: EncodedVideo,
    jobs: list[Job],
    *,
    moments: int,
    run: str,
    state: FileState | None,
) -> list[Record]:
    began = time.perf_counter()
    answers = localizer.localize(video, [job.query for job in jobs], moments=moments)
    timings = {**video.timings, "localize": time.perf_counter() - began}
    return [
        answer_record(
            job,
            answer,
            video,
            backend=localizer.backend,
            run=run,
            timings=timings,
            state=state,
        )
        for job, answer in zip(jobs, answers, strict=True)
    ]
