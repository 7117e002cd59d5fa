"""A run of tasks, ready to begin: its localizer is open, its results come as they finish.

`LocalRun` works on this machine; a cluster's run has the same two methods and context manager.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

from vtloc_runtime.batch.workers.worker_pool import PipelineOptions, run_tasks
from vtloc_runtime.system.processors import available_processors

if TYPE_CHECKING:
    from vtloc_runtime.bundle.bundle import Bundle
    from vtloc_runtime.errors import ClusterError
    from vtloc_runtime.localize.localizer import Localizer
    from vtloc_runtime.video.isolation.chunks import Read

_Task = TypeVar("_Task")
_Answer = TypeVar("_Answer")
_Task_contra = TypeVar("_Task_contra", contravariant=True)
_Answer_co = TypeVar("_Answer_co", covariant=True)


class Progress(Protocol):
    """A callback for the progress of a run."""

    def __call__(self, video: str, seconds: float, /) -> None:
        """Take note of progress; called from any thread.

        Args:
            video: The video that is being encoded.
            seconds: The time of its last encoded frame.
        """
        ...


class VideoWork(Protocol[_Task_contra, _Answer_co]):
    """What a run does with each of its tasks. It pickles, so that a cluster can do it as well."""

    def do(
        self,
        localizer: Localizer,
        task: _Task_contra,
        read: Read,
        *,
        progress: Progress | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> _Answer_co:
        """Do one task; errors become its answer, except `DeviceLostError`."""
        ...

    def give_up(self, task: _Task_contra, error: ClusterError) -> _Answer_co:
        """The answer of a task whose workers were all lost."""
        ...


class LocalRun(Generic[_Task, _Answer]):
    """A run on this machine.

    Args:
        bundle: The bundle to open.
        tasks: The tasks.
        work: What to do with each task.
        localizer: Options of ``Localizer.open``. Unless they say otherwise, the workers share the
            processors among the threads of their networks.
        options: How the tasks are processed.
        progress: Called with the progress of each video.

    Raises:
        VtlocError: On entering: the backend, the device or the bundle cannot be used.
    """

    def __init__(
        self,
        bundle: Bundle,
        tasks: Sequence[_Task],
        work: VideoWork[_Task, _Answer],
        *,
        localizer: Mapping[str, Any],
        options: PipelineOptions,
        progress: Progress | None = None,
    ) -> None:
        self._bundle = bundle
        self._tasks = list(tasks)
        self._work = work
        self._localizer_options = localizer
        self._options = options
        self._progress = progress
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        from vtloc_runtime.localize.localizer import Localizer

        workers = self._options.workers_for(len(self._tasks))
        threads = self._localizer_options.get("threads")
        options = {
            **self._localizer_options,
            "threads": threads or max(1, available_processors() // workers),
            # Often all videos are cached, and no frame has to be encoded.
            "lazy": True,
        }
        self._localizer = self._stack.enter_context(Localizer.open(self._bundle, **options))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def results(self, stop: Callable[[], bool]) -> Generator[_Answer, None, None]:
        """Do the tasks.

        Args:
            stop: Called before each task; once it returns True, no more tasks are started.

        Yields:
            The answer of each task, once.
        """

        def do(task: _Task, read: Read) -> _Answer:
            return self._work.do(self._localizer, task, read, progress=self._progress, stop=stop)

        return run_tasks(do, self._tasks, self._options, stop=stop)
