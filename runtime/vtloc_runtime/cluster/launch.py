"""Work spread over a cluster, as the command line asked for it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from vtloc_runtime.errors import UsageError
from vtloc_runtime.networks.load import resolve_device

if TYPE_CHECKING:
    from vtloc_runtime.batch.worker_pool import PipelineOptions
    from vtloc_runtime.bundle.bundle import Bundle
    from vtloc_runtime.cli.options import ServingOptions
    from vtloc_runtime.cluster.connection import Cluster
    from vtloc_runtime.cluster.worker import ClusterWork

_Task = TypeVar("_Task")
_Answer = TypeVar("_Answer")

Spread: TypeAlias = Callable[[Callable[[], bool]], Generator[_Answer, None, None]]
"""Begins the work, given what says when to stop; gives each task's answer once."""


@contextmanager
def spread_over(
    address: str,
    tasks: Sequence[_Task],
    work: ClusterWork[_Task, _Answer],
    *,
    bundle: Bundle,
    serving: ServingOptions,
    pipeline: PipelineOptions,
) -> Iterator[Spread[_Answer]]:
    """Join a cluster for the length of a ``with`` block.

    Args:
        address: The cluster's, as ``--ray`` gave it.
        tasks: What to do.
        work: What is done with each task.
        bundle: Where the networks come from.
        serving: How each worker runs them.
        pipeline: Limits of the decoders, and the order of answers.

    Raises:
        MissingExtraError: Ray is not installed.
        ClusterError: The cluster does not answer, or cannot do the work.
        UsageError: The address is none, or a GPU is chosen where Ray chooses.
    """
    gpu = _wants_gpu(serving)
    # Loaded only now, so that machines without Ray never miss it.
    import vtloc_runtime.cluster.connection as clusters
    from vtloc_runtime.cluster.bundle_transfer import BundleParcel
    from vtloc_runtime.cluster.run import run_on_cluster
    from vtloc_runtime.cluster.versions import Software
    from vtloc_runtime.cluster.worker import WorkerPlan

    with clusters.open_cluster(address) as cluster:
        plan = WorkerPlan(
            work=work,
            bundle=BundleParcel.of(bundle, None if address == clusters.LOCAL else clusters.share),
            localizer=serving.localizer_options(serving.threads or 1),
            lanes=serving.workers or (_lanes_beside_gpu(cluster) if gpu else 1),
            limits=pipeline.limits,
            folder=str(Path.cwd()),
            software=Software.here(),
            decoder=serving.decoder,
        )
        yield lambda stop: run_on_cluster(
            cluster, plan, tasks, gpu=gpu, in_order=pipeline.in_order, stop=stop
        )


def _wants_gpu(serving: ServingOptions) -> bool:
    device = resolve_device(serving.backend, serving.device)
    if device not in {"cpu", "cuda"}:
        raise UsageError(
            "on a cluster Ray chooses the GPUs", where=device, remedy="Say --device cuda"
        )
    return device == "cuda"


def _lanes_beside_gpu(cluster: Cluster) -> int:
    """Lanes that the processors beside each GPU can feed, on the node that has fewest."""
    beside = [node.processors // node.gpus for node in cluster.nodes() if node.gpus >= 1]
    return max(1, int(min(beside, default=1)))
