"""What a build shows while it runs: TensorRT's own phases, as progress that people can read."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Protocol

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from typing import Self

    from rich.console import Console

    from vtloc_runtime.networks.tensorrt.api import TensorrtApi


class BuildProgress(Protocol):
    """Who listens to a build."""

    def start(self, title: str) -> None:
        """A network's build begins."""
        ...

    def phase(self, name: str, parent: str | None, steps: int) -> None:
        """A phase of so many steps begins, inside another one or on its own."""
        ...

    def step(self, name: str, step: int) -> None:
        """A step of a phase ended."""
        ...

    def finish(self, name: str) -> None:
        """A phase ended."""
        ...


class SilentProgress:
    """Shows nothing."""

    def start(self, title: str) -> None:
        """A network's build begins."""

    def phase(self, name: str, parent: str | None, steps: int) -> None:
        """A phase begins."""

    def step(self, name: str, step: int) -> None:
        """A step ended."""

    def finish(self, name: str) -> None:
        """A phase ended."""


class RichProgress:
    """Bars on a terminal: one for the network, one for each phase that is under way.

    Args:
        console: Where to draw; on anything but a terminal nothing is drawn.
    """

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._title: TaskID | None = None
        self._phases: dict[str, TaskID] = {}
        self._depths: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def start(self, title: str) -> None:
        """A network's build begins; bars of the one before go."""
        for task in self._progress.task_ids:
            self._progress.remove_task(task)
        self._phases.clear()
        self._depths.clear()
        self._title = self._progress.add_task(title, total=None)

    def phase(self, name: str, parent: str | None, steps: int) -> None:
        """A phase begins, indented under its parent."""
        depth = self._depths.get(parent, 0) + 1 if parent else 1
        self._depths[name] = depth
        self._phases[name] = self._progress.add_task("  " * depth + name, total=steps)

    def step(self, name: str, step: int) -> None:
        """A step ended."""
        if name in self._phases:
            self._progress.update(self._phases[name], completed=step + 1)

    def finish(self, name: str) -> None:
        """A phase ended; its bar goes."""
        task = self._phases.pop(name, None)
        if task is not None:
            self._progress.remove_task(task)


class Interruption:
    """Whether the user asked to stop; an exception must not cross TensorRT's own code."""

    def __init__(self) -> None:
        self._error: BaseException | None = None
        self._lock = threading.Lock()

    def note(self, error: BaseException) -> None:
        """Keep the first thing that went wrong in a callback."""
        with self._lock:
            self._error = self._error or error

    @property
    def asked(self) -> bool:
        """Whether the build is to stop."""
        return self._error is not None

    def resume(self) -> None:
        """Raise what was kept, now that TensorRT has returned."""
        if self._error is not None:
            raise self._error


def make_monitor(api: TensorrtApi, progress: BuildProgress, interruption: Interruption) -> Any:
    """A TensorRT progress monitor that reports to a listener, and stops the build when asked."""
    base: Any = api.module.IProgressMonitor

    class Monitor(base):  # type: ignore[misc]  # the base is known only at run time
        def __init__(self) -> None:
            base.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            _guard(interruption, progress.phase, phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            _guard(interruption, progress.step, phase_name, step)
            return not interruption.asked

        def phase_finish(self, phase_name: str) -> None:
            _guard(interruption, progress.finish, phase_name)

    return Monitor()


def _guard(interruption: Interruption, callback: Any, *arguments: Any) -> None:
    try:
        callback(*arguments)
    except BaseException as error:  # noqa: BLE001 - Ctrl-C too is kept until TensorRT returned
        interruption.note(error)
