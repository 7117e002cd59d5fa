"""A run on a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from vtloc_runtime.errors import UsageError
from vtloc_runtime.networks.load import resolve_device
from vtloc_runtime.video.decoders.choice import PROCESSOR

if TYPE_CHECKING:
    from vtloc_runtime.batch.run import VideoWork
    from vtloc_runtime.batch.workers.worker_pool import PipelineOptions
    from vtloc_runtime.bundle.bundle import Bundle
    from vtloc_runtime.cluster.connection import Cluster

_Task = TypeVar("_Task")
_Answer = TypeVar("_Answer")


class ClusterRun(Generic[_Task, _Answer]):
    """A run on a Ray cluster, which is joined for the length of a ``with`` block.

    Args:
        address: The cluster's address, as for ``--ray``.
        bundle: The bundle that the workers open.
        tasks: The tasks.
        work: What to do with each task.
        localizer: Options of ``Localizer.open``, for each worker.
        options: How the tasks are processed; ``workers`` is for each Ray worker.

    Raises:
        UsageError: The address is not valid, or a GPU is named, which Ray chooses.
        MissingExtraError: On entering: Ray is not installed.
        ClusterError: On entering: the cluster does not answer.
    """

    def __init__(
        self,
        address: str,
        bundle: Bundle,
        tasks: Sequence[_Task],
        work: VideoWork[_Task, _Answer],
        *,
        localizer: Mapping[str, Any],
        options: PipelineOptions,
    ) -> None:
        self._address = address
        self._bundle = bundle
        self._tasks = tasks
        self._work = work
        self._localizer = {**localizer, "threads": localizer.get("threads") or 1}
        self._options = options
        self._gpu = _needs_gpu(localizer)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        # Loaded here, so that machines without Ray never need it.
        from vtloc_runtime.cluster.connection import open_cluster

        self._cluster = self._stack.enter_context(open_cluster(self._address))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def results(self, stop: Callable[[], bool]) -> Generator[_Answer, None, None]:
        """Do the tasks.

        Args:
            stop: Called several times a second; once it returns True, no more tasks are started.

        Yields:
            The answer of each task, once.

        Raises:
            ClusterError: The cluster cannot do the work, or is lost.
        """
        from vtloc_runtime.cluster import connection
        from vtloc_runtime.cluster.bundle_transfer import BundleTransfer
        from vtloc_runtime.cluster.run import run_on_cluster
        from vtloc_runtime.cluster.versions import Software
        from vtloc_runtime.cluster.worker import WorkerPlan

        send = None if self._address == connection.LOCAL else connection.share
        plan = WorkerPlan(
            work=self._work,
            bundle=BundleTransfer.prepare(self._bundle, send),
            localizer=self._localizer,
            concurrency=self._options.workers or (_per_gpu(self._cluster) if self._gpu else 1),
            limits=self._options.limits,
            folder=str(Path.cwd()),
            software=Software.here(),
            decoder=self._options.decoder or PROCESSOR,
        )
        return run_on_cluster(
            self._cluster,
            plan,
            self._tasks,
            gpu=self._gpu,
            in_order=self._options.in_order,
            stop=stop,
        )


def _needs_gpu(localizer: Mapping[str, Any]) -> bool:
    device = resolve_device(localizer["backend"], localizer["device"])
    if device not in {"cpu", "cuda"}:
        raise UsageError(
            "on a cluster, Ray chooses the GPUs", where=device, remedy="Use --device cuda"
        )
    return device == "cuda"


def _per_gpu(cluster: Cluster) -> int:
    """Videos at once for which the processors per GPU suffice, on the node with the fewest."""
    ratios = [node.processors // node.gpus for node in cluster.nodes() if node.gpus >= 1]
    return max(1, int(min(ratios, default=1)))
