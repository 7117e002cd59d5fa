"""Tasks on a cluster with Ray Data: restarted if a node is lost, each answered once."""

from __future__ import annotations

import math
import pickle
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self, TypeVar

from vtloc_runtime.batch.workers.worker_pool import in_task_order
from vtloc_runtime.cluster.start_counter import StartCounter
from vtloc_runtime.cluster.worker import FAULT, Worker, WorkerPlan, check_node
from vtloc_runtime.errors import ClusterError, UsageError

if TYPE_CHECKING:
    from vtloc_runtime.cluster.connection import Cluster, Node

_Task = TypeVar("_Task")
_Answer = TypeVar("_Answer")

_TASKS_AT_ONCE = 20_000
"""Tasks given to Ray at once: its records of each take memory, which must be bounded."""

_STOP_INTERVAL = 0.2
"""Seconds between two calls of ``stop``."""


def run_on_cluster(
    cluster: Cluster,
    plan: WorkerPlan[_Task, _Answer],
    tasks: Sequence[_Task],
    *,
    gpu: bool = False,
    in_order: bool = False,
    stop: Callable[[], bool] | None = None,
) -> Generator[_Answer, None, None]:
    """Do tasks on every node of a cluster.

    Args:
        cluster: The cluster.
        plan: What every worker must know.
        tasks: The tasks; they and their answers are pickled.
        gpu: Give each worker a GPU of its own.
        in_order: Return answers in the order of the tasks instead of as they finish.
        stop: Called several times a second; once it returns True, no more tasks are started,
            and those in flight are finished.

    Yields:
        The answer of each task, once.

    Raises:
        ClusterError: No node can hold a worker, a node differs from the driver, or the cluster is
            lost.
        UsageError: ``concurrency`` is less than 1.
    """
    if plan.concurrency < 1:
        raise UsageError(f"concurrency must be at least 1, not {plan.concurrency}")
    nodes = cluster.nodes()
    size = _WorkerSize(plan, nodes, gpu=gpu)
    _check_nodes([node for node in nodes if size.fits(node)], plan)
    answers = _numbered(cluster, plan, tasks, size, stop or (lambda: False))
    return (yield from in_task_order(answers) if in_order else (answer for _, answer in answers))


class _WorkerSize:
    """The resources of one worker.

    Args:
        plan: What the worker must know.
        nodes: The cluster's nodes.
        gpu: Whether it needs a GPU.

    Attributes:
        processors: Processors of one worker.
        gpus: GPUs of one worker.
        capacity: Workers that the nodes can hold together.

    Raises:
        ClusterError: They can hold none.
    """

    def __init__(self, plan: WorkerPlan[Any, Any], nodes: list[Node], *, gpu: bool) -> None:
        self.processors = plan.concurrency * int(plan.localizer.get("threads") or 1)
        self.gpus = 1 if gpu else 0
        self.capacity = sum(node.workers(self.processors, self.gpus) for node in nodes)
        if self.capacity == 0:
            offers = ", ".join(
                f"{node.address} {node.processors:g} processors and {node.gpus:g} GPUs"
                for node in nodes
            )
            raise ClusterError(
                f"no node has room for a worker of {self.processors} processors"
                f"{' and a GPU' if gpu else ''}; the nodes are: {offers or 'none'}",
                remedy="Lower --workers and --threads, or start larger nodes",
            )

    def fits(self, node: Node) -> bool:
        """Whether a node can hold a worker."""
        return node.workers(self.processors, self.gpus) > 0


def _check_nodes(nodes: list[Node], plan: WorkerPlan[Any, Any]) -> None:
    """Check every node before any work is done.

    Raises:
        VtlocError: A node cannot do the work; the first one's reason.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    check = ray.remote(num_cpus=0, max_retries=1)(check_node)
    asked = [
        (
            node,
            check.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False)
            ).remote(plan),
        )
        for node in nodes
    ]
    for node, answer in asked:
        try:
            reason = ray.get(answer)
        except (ray.exceptions.TaskUnschedulableError, ray.exceptions.NodeDiedError):
            # It was just lost; the other nodes do the work.
            continue
        except ray.exceptions.RayError as error:
            raise ClusterError(
                f"the node cannot run vtloc: {_last_line(error)}",
                where=node.address,
                remedy="Install the same packages as on the driver, with the ray extra",
            ) from error
        if reason is not None:
            raise reason


def _numbered(
    cluster: Cluster,
    plan: WorkerPlan[_Task, _Answer],
    tasks: Sequence[_Task],
    size: _WorkerSize,
    stop: Callable[[], bool],
) -> Iterator[tuple[int, _Answer]]:
    """Number and answer of each task."""
    import ray

    for first in range(0, len(tasks), _TASKS_AT_ONCE):
        if stop():
            return
        part = dict(enumerate(tasks[first : first + _TASKS_AT_ONCE], first))
        try:
            with _start_counter(cluster) as starts, _StopWatch(starts, stop) as watch:
                rows = _rows(part, plan, size, starts)
                yield from _answers(rows, set(part), watch)
        except ray.exceptions.RayError as error:
            raise ClusterError(
                f"the cluster failed: {_last_line(error)}",
                where=cluster.address,
                remedy="With --out, run the same command again to resume",
            ) from error


def _rows(
    part: dict[int, _Task],
    plan: WorkerPlan[_Task, _Answer],
    size: _WorkerSize,
    starts: Any,
) -> Iterator[dict[str, Any]]:
    """One row for each answer, as they finish."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    most = math.ceil(len(part) / plan.concurrency)
    rows = [{"number": number, "task": pickle.dumps(task)} for number, task in part.items()]
    # One task per block, so that only tasks in flight are repeated if a node is lost. No prefetch,
    # because Ray would then hold back each answer until the next is there.
    batches = (
        ray.data.from_items(rows, override_num_blocks=len(rows))
        .map_batches(
            Worker,
            fn_constructor_args=(plan, starts),
            batch_size=1,
            num_cpus=size.processors,
            num_gpus=size.gpus or None,
            compute=ray.data.ActorPoolStrategy(
                min_size=1,
                max_size=most,
                initial_size=min(size.capacity, most),
                max_tasks_in_flight_per_actor=plan.concurrency,
                max_concurrent_calls_per_actor=plan.concurrency,
                enable_true_multi_threading=True,
            ),
        )
        .iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
    )
    return (row for batch in batches for row in batch.to_pylist())


def _answers(
    rows: Iterator[dict[str, Any]], expected: set[int], watch: _StopWatch
) -> Iterator[tuple[int, Any]]:
    """Each expected task's answer once; after a stop, only those of tasks that were started."""
    missing = set(expected)
    for row in rows:
        number, content = int(row["number"]), row["answer"]
        if number == FAULT:
            raise pickle.loads(content)  # noqa: S301 - from this driver's own workers
        if content and number in missing:
            missing.remove(number)
            yield number, pickle.loads(content)  # noqa: S301 - as above
        started = watch.started
        if started is not None and not started & missing:
            return
    if missing and watch.started is None:
        raise ClusterError(
            f"{len(missing)} videos were not answered",
            remedy="With --out, run the same command again to resume",
        )


@contextmanager
def _start_counter(cluster: Cluster) -> Iterator[Any]:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(cluster.driver, soft=False)
    counter = ray.remote(num_cpus=0)(StartCounter).options(scheduling_strategy=here).remote()
    try:
        yield counter
    finally:
        ray.kill(counter)


class _StopWatch:
    """Calls ``stop`` from a thread, and closes the counter once it returns True.

    Attributes:
        started: The tasks that had been started by then; None before.
    """

    def __init__(self, starts: Any, stop: Callable[[], bool]) -> None:
        self.started: set[int] | None = None
        self._starts = starts
        self._stop = stop
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stop watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        import ray

        while not self._over.wait(_STOP_INTERVAL):
            if self._stop():
                # If the counter is lost, so is the run; the driver gets that error elsewhere.
                with suppress(ray.exceptions.RayError):
                    self.started = ray.get(self._starts.close.remote())
                return


def _last_line(error: BaseException) -> str:
    """The last line of Ray's message, which follows a remote traceback."""
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return lines[-1].strip().rstrip(".") if lines else type(error).__name__
