"""A Ray worker: a process on some machine, with a localizer and several decoders."""

from __future__ import annotations

import os
import pickle
import queue
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from vtloc_runtime.batch.workers.worker_decoders import AUTO, open_readers, worker_decoders
from vtloc_runtime.errors import ClusterError, DeviceLostError
from vtloc_runtime.video.decoders.choice import PROCESSOR

if TYPE_CHECKING:
    from vtloc_runtime.batch.run import VideoWork
    from vtloc_runtime.bundle.bundle import Bundle
    from vtloc_runtime.cluster.bundle_transfer import BundleTransfer
    from vtloc_runtime.cluster.versions import Software
    from vtloc_runtime.localize.localizer import Localizer
    from vtloc_runtime.video.isolation.chunks import Read
    from vtloc_runtime.video.isolation.limits import DecoderLimits

_Task = TypeVar("_Task")
_Answer = TypeVar("_Answer")

MAX_STARTS = 4
"""How often a video is started before the loss of its workers is blamed on it."""

FAULT = -1
"""The number of a row that holds an error of the worker itself."""


@dataclass(frozen=True, slots=True)
class WorkerPlan(Generic[_Task, _Answer]):
    """What every worker must know.

    Attributes:
        work: What to do with each task.
        bundle: The bundle to open.
        localizer: Options of ``Localizer.open``.
        concurrency: Tasks done at the same time in one worker.
        limits: Limits of each decoder process.
        folder: The driver's working directory; relative paths start there.
        software: The driver's versions.
        decoder: The video decoder, as `worker_decoders` takes it.
    """

    work: VideoWork[_Task, _Answer]
    bundle: BundleTransfer
    localizer: dict[str, Any]
    concurrency: int
    limits: DecoderLimits
    folder: str
    software: Software
    decoder: str = PROCESSOR

    def open_bundle(self) -> Bundle:
        """Check that this machine is like the driver's, and open the bundle on it.

        Raises:
            ClusterError: It runs other software, or lacks the driver's folder.
            BundleError: Another bundle is in the place of the driver's.
        """
        import ray

        from vtloc_runtime.cluster.versions import Software

        node = ray.util.get_node_ip_address()
        Software.here().check(self.software, node=node)
        if not Path(self.folder).is_dir():
            raise ClusterError(
                f"the node has no folder {self.folder}",
                where=node,
                remedy="Start vtloc in a folder that every node mounts at the same path",
            )
        return self.bundle.open(ray.get, node=node)


def check_node(plan: WorkerPlan[Any, Any]) -> Exception | None:
    """Why the machine that this runs on cannot do the work; None if it can."""
    try:
        plan.open_bundle()
    except Exception as error:  # noqa: BLE001 - raised again on the driver, under its own name
        return error
    return None


class Worker(Generic[_Task, _Answer]):
    """Does tasks for Ray Data, which calls it from several threads, with one row for each task.

    Args:
        plan: What to do, and with what.
        starts: The driver's `StartCounter`.
    """

    def __init__(self, plan: WorkerPlan[_Task, _Answer], starts: Any) -> None:
        self._plan = plan
        self._starts = starts
        self._idle: queue.LifoQueue[Read] = queue.LifoQueue()
        self._stack = ExitStack()
        # Ray would restart a worker that fails, over and over: keep the reason for the driver.
        self._fault: Exception | None = None
        try:
            self._localizer = self._open()
        except Exception as error:  # noqa: BLE001 - raised on the driver
            self._fault = error

    def __call__(self, row: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Do one task.

        Args:
            row: Columns ``number`` and ``task``, one entry each.

        Returns:
            Columns ``number`` and ``answer``; the answer is empty if the run stops.
        """
        import ray

        number = int(row["number"][0])
        if self._fault is not None:
            return _row(FAULT, pickle.dumps(self._fault))
        # Tasks and answers pass between the driver and its own workers only.
        task: _Task = pickle.loads(row["task"][0])  # noqa: S301 - as above
        starts = ray.get(self._starts.start.remote(number))
        if starts == 0:
            return _row(number, b"")
        if starts > MAX_STARTS:
            lost = ClusterError(
                f"its worker was lost {MAX_STARTS} times",
                remedy="The video may take more memory than the node has; "
                "try it alone, or with --retry-failed",
            )
            return _row(number, pickle.dumps(self._plan.work.give_up(task, lost)))
        read = self._idle.get()
        try:
            answer = self._plan.work.do(self._localizer, task, read)
        except DeviceLostError as error:
            # CUDA needs a new process: Ray starts another worker, which gets the task again.
            sys.stderr.write(f"vtloc-run: {error}\n")
            sys.stderr.flush()
            os._exit(DeviceLostError.exit_code)
        finally:
            self._idle.put(read)
        return _row(number, pickle.dumps(answer))

    def _open(self) -> Localizer:
        from vtloc_runtime.localize.localizer import Localizer

        bundle = self._plan.open_bundle()
        os.chdir(self._plan.folder)
        plan = self._plan
        device = plan.localizer.get("device")
        if device is None and plan.localizer.get("backend") == "tensorrt":
            device = "cuda"
        for read in open_readers(
            worker_decoders(plan.decoder, device, plan.concurrency),
            plan.limits,
            self._stack,
            fallback=plan.decoder == AUTO,
            start=plan.limits.require_sandbox,
        ):
            self._idle.put(read)
        return self._stack.enter_context(Localizer.open(bundle, **self._plan.localizer))


def _row(number: int, answer: bytes) -> dict[str, list[Any]]:
    return {"number": [number], "answer": [answer]}
