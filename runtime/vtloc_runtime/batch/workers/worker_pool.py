"""Workers that do tasks at the same time: threads, each with a decoder process of its own.

While the process decodes the next frames, the thread encodes the last ones and, at the video's end,
answers its sentences. A worker without a task reads and encodes parts of another's video. All
workers share one localizer. A worker holds two chunks of frames and one video's features, so memory
is bounded by the number of workers, whatever the videos.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from vtloc_runtime.batch.workers.part_board import PartBoard
from vtloc_runtime.batch.workers.worker_decoders import (
    AUTO,
    decode_with,
    open_readers,
    worker_decoders,
)
from vtloc_runtime.localize.encoding.parted_encoding import SharedRead
from vtloc_runtime.system.arguments import check_flags, check_kind, check_text, check_whole
from vtloc_runtime.system.processors import MOST_WORKERS, available_processors
from vtloc_runtime.video.decoders.choice import PROCESSOR
from vtloc_runtime.video.isolation.chunks import Read, read_here
from vtloc_runtime.video.isolation.limits import DecoderLimits

if TYPE_CHECKING:
    from vtloc_runtime.localize.encoding.feature_cache import FeatureCache

_Task = TypeVar("_Task")
_Answer = TypeVar("_Answer")


class StoppedWorkError(Exception):
    """A task was given up because the run stops; it has no result."""


@dataclass(frozen=True, slots=True)
class PipelineOptions:
    """How a run's videos are processed.

    Attributes:
        workers: Videos, or parts of them, processed at the same time; None means one for each
            processor.
        isolated: Decode in separate processes, so that a crash costs one video only.
        limits: Limits of each decoder process.
        in_order: Return results in the order of the videos instead of as they finish.
        cache: Where encoded videos are kept; None keeps none.
        decoder: The video decoder, as `worker_decoders` takes it; None leaves it to the localizer.
        device: The device of the networks; NVDEC decodes on the same GPUs.

    Raises:
        UsageError: An option is of another type, or out of range.
    """

    workers: int | None = None
    isolated: bool = True
    limits: DecoderLimits = field(default_factory=DecoderLimits)
    in_order: bool = False
    cache: FeatureCache | None = None
    decoder: str | None = None
    device: str | None = None

    def __post_init__(self) -> None:
        if self.workers is not None:
            check_whole(self.workers, "workers", least=1, most=MOST_WORKERS)
        check_kind(self.limits, DecoderLimits, "limits")
        check_flags(isolated=self.isolated, in_order=self.in_order)
        for name in ("decoder", "device"):
            if (value := getattr(self, name)) is not None:
                check_text(value, name)

    def workers_for(self, videos: int) -> int:
        """The number of workers to start for so many videos."""
        return max(1, min(len(self.decoders()), videos))

    @property
    def divides_videos(self) -> bool:
        """Whether idle workers take parts of others' videos; on GPUs one decoder is enough."""
        return self.decoder in {None, PROCESSOR}

    def decoders(self) -> list[str | None]:
        """The decoder of each worker; None leaves it to the localizer."""
        if self.decoder is None:
            return [None] * (self.workers or available_processors())
        return [*worker_decoders(self.decoder, self.device, self.workers)]


def run_tasks(
    work: Callable[[_Task, Read], _Answer],
    tasks: list[_Task],
    options: PipelineOptions,
    *,
    stop: Callable[[], bool] | None = None,
) -> Generator[_Answer, None, None]:
    """Do tasks in several workers at once, each with a reader of its own.

    Args:
        work: Does one task. It may raise ``StoppedWorkError``, which gives no result; any other
            error ends the run.
        tasks: What to do.
        options: How many workers, and in which order to return results.
        stop: Called before each task; once it returns True, no more tasks are started.

    Yields:
        The results of ``work``, as they finish or in the order of the tasks.
    """
    pool = _WorkerPool(work, tasks, options, stop or (lambda: False))
    try:
        results = pool.results()
        yield from in_task_order(results) if options.in_order else (result for _, result in results)
    finally:
        pool.close()


def in_task_order(results: Iterable[tuple[int, _Answer]]) -> Iterator[_Answer]:
    """Put results that come as they are ready back into the order of their tasks.

    Args:
        results: Number and result of each task, from 0, in any order. Numbers may be missing where
            the work was stopped; the results after them are returned at the end.
    """
    early: dict[int, _Answer] = {}
    wanted = 0
    for number, result in results:
        early[number] = result
        while wanted in early:
            yield early.pop(wanted)
            wanted += 1
    for number in sorted(early):
        yield early[number]


def _readers(options: PipelineOptions, count: int, stack: ExitStack) -> list[Read]:
    """A reader for each worker."""
    decoders, fallback = options.decoders()[:count], options.decoder == AUTO
    if options.isolated:
        return open_readers(decoders, options.limits, stack, fallback=fallback)
    return [
        read_here if decoder is None else decode_with(read_here, decoder, fallback=fallback)
        for decoder in decoders
    ]


class _WorkerPool(Generic[_Task, _Answer]):
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
        count = options.workers_for(len(tasks)) if tasks else 0
        if count and options.divides_videos:
            count = len(options.decoders())
        self._board = PartBoard(count) if count > 1 and options.divides_videos else None
        # Workers wait while the queue is full, so that results do not pile up.
        self._done: queue.Queue[tuple[int, _Answer] | BaseException | None] = queue.Queue(2 * count)
        self._closed = False
        self._threads = []
        for number, read in enumerate(_readers(options, count, self._stack)):
            thread = threading.Thread(
                target=self._do_tasks, args=(read,), name=f"worker {number}", daemon=True
            )
            self._threads.append(thread)

    def results(self) -> Iterator[tuple[int, _Answer]]:
        """Number and result of each task, as they come."""
        for thread in self._threads:
            thread.start()
        working = len(self._threads)
        while working:
            # Without a timeout, Ctrl-C would not be noticed.
            try:
                result = self._done.get(timeout=0.5)
            except queue.Empty:
                continue
            if result is None:
                working -= 1
            elif isinstance(result, BaseException):
                raise result
            else:
                yield result

    def close(self) -> None:
        """End the decoders, and with them the workers."""
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

    def _do_tasks(self, read: Read) -> None:
        board = self._board
        shared = read if board is None else SharedRead(read, partial(board.share, read))
        try:
            while self._do_next(shared):
                pass
            if board is not None:
                board.help(read, lambda: self._closed)
            self._done.put(None)
        except BaseException as error:  # noqa: BLE001 - raised again by `results`
            self._done.put(error)

    def _do_next(self, read: Read) -> bool:
        """Do the next task; False where there is none."""
        # Busy before it is taken, or the others might take the run for over.
        with nullcontext() if self._board is None else self._board.busy():
            task = self._take()
            if task is not None:
                with suppress(StoppedWorkError):
                    self._done.put((task[0], self._work(task[1], read)))
        return task is not None

    def _take(self) -> tuple[int, _Task] | None:
        with self._taking:
            if self._closed or self._stop():
                return None
            return next(self._todo, None)
