"""A worker: one process on some machine, with a localizer of its own and a few lanes."""

from __future__ import annotations

import os
import pickle
import queue
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from vtloc_runtime.batch.decoder_lanes import AUTO, decoding_by, lane_decoders
from vtloc_runtime.errors import ClusterError, DeviceLostError
from vtloc_runtime.video.decoders.choice import PROCESSOR
from vtloc_runtime.video.isolation.decoder_process import DecoderLimits, DecoderProcess

if TYPE_CHECKING:
    from vtloc_runtime.bundle.bundle import Bundle
    from vtloc_runtime.cluster.bundle_transfer import BundleParcel
    from vtloc_runtime.cluster.versions import Software
    from vtloc_runtime.localize.localizer import Localizer
    from vtloc_runtime.video.isolation.chunks import Read

_Task = TypeVar("_Task")
_Answer = TypeVar("_Answer")
_Task_contra = TypeVar("_Task_contra", contravariant=True)
_Answer_co = TypeVar("_Answer_co", covariant=True)

MOST_BEGINNINGS = 4
"""How often a video may cost its worker before it is taken for the cause."""

FAULT = -1
"""The number of a row that holds an error of the worker itself."""


class ClusterWork(Protocol[_Task_contra, _Answer_co]):
    """What is done with each task, anywhere; pickles."""

    def do(self, localizer: Localizer, task: _Task_contra, read: Read) -> _Answer_co:
        """Do one task; raises nothing but `DeviceLostError`."""
        ...

    def give_up(self, task: _Task_contra, error: ClusterError) -> _Answer_co:
        """What stands in the results for a task that ended every worker that began it."""
        ...


@dataclass(frozen=True, slots=True)
class WorkerPlan(Generic[_Task, _Answer]):
    """Everything that a worker must know; the same for all of them.

    Attributes:
        work: What is done with each task.
        bundle: Where the networks come from.
        localizer: Options of ``Localizer.open``.
        lanes: Tasks under way at once in one worker.
        limits: How far each decoder process may go.
        folder: Where the driver stands; relative paths start there.
        software: What the driver runs.
        decoder: What decodes in the lanes, as `lane_decoders` takes it.
    """

    work: ClusterWork[_Task, _Answer]
    bundle: BundleParcel
    localizer: dict[str, Any]
    lanes: int
    limits: DecoderLimits
    folder: str
    software: Software
    decoder: str = PROCESSOR

    def settle(self) -> Bundle:
        """Make this machine ready, once it was found to be of the driver's kind.

        Raises:
            ClusterError: It runs other software, or lacks the driver's folder.
            BundleError: Another bundle lies in the place of the driver's.
        """
        import ray

        from vtloc_runtime.cluster.versions import Software

        node = ray.util.get_node_ip_address()
        Software.here().check(self.software, node=node)
        if not Path(self.folder).is_dir():
            raise ClusterError(
                f"the node has no folder {self.folder}",
                where=node,
                remedy="Start from a folder that every node mounts at the same path",
            )
        return self.bundle.open(ray.get, node=node)


def check_node(plan: WorkerPlan[Any, Any]) -> Exception | None:
    """Whether the machine that this runs on can do the work; the reason where it cannot."""
    try:
        plan.settle()
    except Exception as error:  # noqa: BLE001 - raised again on the driver, under its own name
        return error
    return None


class Worker(Generic[_Task, _Answer]):
    """What Ray Data calls with one row a task, from as many threads as there are lanes.

    Args:
        plan: What to do, and with what.
        gate: The driver's gate.
    """

    def __init__(self, plan: WorkerPlan[_Task, _Answer], gate: Any) -> None:
        self._plan = plan
        self._gate = gate
        self._idle: queue.LifoQueue[Read] = queue.LifoQueue()
        self._stack = ExitStack()
        # Ray would start a worker that fails over and over; the driver shall know why instead.
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
            Columns ``number`` and ``answer``; the answer is empty where the gate was shut.
        """
        import ray

        number = int(row["number"][0])
        if self._fault is not None:
            return _row(FAULT, pickle.dumps(self._fault))
        # Tasks and answers travel between the driver and its own workers alone.
        task: _Task = pickle.loads(row["task"][0])  # noqa: S301 - as above
        beginnings = ray.get(self._gate.enter.remote(number))
        if beginnings == 0:
            return _row(number, b"")
        if beginnings > MOST_BEGINNINGS:
            lost = ClusterError(
                f"its worker was lost {MOST_BEGINNINGS} times",
                remedy="The video may take more memory than the node has; "
                "try it alone, or with --retry-failed",
            )
            return _row(number, pickle.dumps(self._plan.work.give_up(task, lost)))
        read = self._idle.get()
        try:
            answer = self._plan.work.do(self._localizer, task, read)
        except DeviceLostError as error:
            # CUDA asks for a new process: Ray starts another worker, which takes the task again.
            sys.stderr.write(f"vtloc-run: {error}\n")
            sys.stderr.flush()
            os._exit(DeviceLostError.exit_code)
        finally:
            self._idle.put(read)
        return _row(number, pickle.dumps(answer))

    def _open(self) -> Localizer:
        from vtloc_runtime.localize.localizer import Localizer

        bundle = self._plan.settle()
        os.chdir(self._plan.folder)
        for decoder in self._decoders():
            limits = self._plan.limits
            if decoder != PROCESSOR:
                limits = replace(limits, memory=0)
            process = self._stack.enter_context(DecoderProcess(limits))
            if limits.require_sandbox:
                process.start(gpu=decoder != PROCESSOR)
            self._idle.put(decoding_by(process.read, decoder, otherwise=self._plan.decoder == AUTO))
        return self._stack.enter_context(Localizer.open(bundle, **self._plan.localizer))

    def _decoders(self) -> list[str]:
        """One a lane; where NVDEC has fewer sessions, lanes wait for one another."""
        plan = self._plan
        device = plan.localizer.get("device") or (
            "cuda" if plan.localizer.get("backend") == "tensorrt" else None
        )
        return lane_decoders(plan.decoder, device, plan.lanes)


def _row(number: int, answer: bytes) -> dict[str, list[Any]]:
    return {"number": [number], "answer": [answer]}
