"""Tasks over a cluster with Ray Data: spread, done again where a node is lost, each given once."""

from __future__ import annotations

import math
import pickle
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self, TypeVar

from vtloc_runtime.batch.task_order import in_task_order
from vtloc_runtime.cluster.start_counter import Gate
from vtloc_runtime.cluster.worker import FAULT, Worker, WorkerPlan, check_node
from vtloc_runtime.errors import ClusterError, UsageError

if TYPE_CHECKING:
    from vtloc_runtime.cluster.connection import Cluster, Node

_Task = TypeVar("_Task")
_Answer = TypeVar("_Answer")

_SHARE = 20_000
"""Tasks that Ray knows of at once: it keeps books on each, and they must not grow without end."""

_LOOKS = 0.2


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
        cluster: Where.
        plan: What is done with each, and with what.
        tasks: What to do; each travels to its worker, and its answer back.
        gpu: Give each worker a GPU of its own.
        in_order: Give answers in the order of the tasks, not as they come.
        stop: Asked several times a second; once it says True no more are begun, and the answers
            of those that are in flight still come.

    Yields:
        The answer of each task, once.

    Raises:
        ClusterError: No node can hold a worker, a node is of another kind than the driver, or the
            cluster is gone.
        UsageError: Workers have no lane.
    """
    if plan.lanes < 1:
        raise UsageError(f"{plan.lanes} lanes do no work", remedy="Ask for 1 or more")
    nodes = cluster.nodes()
    size = _WorkerSize(plan, nodes, gpu=gpu)
    _check_nodes([node for node in nodes if size.fits(node)], plan)
    found = _numbered(cluster, plan, tasks, size, stop or (lambda: False))
    return (yield from in_task_order(found) if in_order else (answer for _, answer in found))


class _WorkerSize:
    """What one worker asks of its node.

    Args:
        plan: What it must do.
        nodes: The cluster's.
        gpu: Whether it needs a GPU of its own.

    Attributes:
        processors: Processors of one worker.
        gpus: GPUs of one worker.
        room: Workers that the nodes hold together.

    Raises:
        ClusterError: They hold none.
    """

    def __init__(self, plan: WorkerPlan[Any, Any], nodes: list[Node], *, gpu: bool) -> None:
        self.processors = plan.lanes * int(plan.localizer.get("threads") or 1)
        self.gpus = 1 if gpu else 0
        self.room = sum(node.workers(self.processors, self.gpus) for node in nodes)
        if self.room == 0:
            offers = ", ".join(
                f"{node.address} {node.processors:g} processors and {node.gpus:g} GPUs"
                for node in nodes
            )
            raise ClusterError(
                f"no node holds a worker of {self.processors} processors"
                f"{' and a GPU' if gpu else ''}; there are {offers or 'no nodes'}",
                remedy="Ask for less with --workers and --threads, or start larger nodes",
            )

    def fits(self, node: Node) -> bool:
        """Whether a node can hold one."""
        return node.workers(self.processors, self.gpus) > 0


def _check_nodes(nodes: list[Node], plan: WorkerPlan[Any, Any]) -> None:
    """Ask every node whether it can do the work, before any is done.

    Raises:
        VtlocError: What the first node that cannot gives as its reason.
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
            # It was lost a moment ago; what is left does the work.
            continue
        except ray.exceptions.RayError as error:
            raise ClusterError(
                f"the node cannot run vtloc: {_last_line(error)}",
                where=node.address,
                remedy="Install there what the driver has, the ray extra included",
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
    """Number and answer of each task, share by share."""
    import ray

    for first in range(0, len(tasks), _SHARE):
        if stop():
            return
        share = {first + index: task for index, task in enumerate(tasks[first : first + _SHARE])}
        try:
            with _open_gate(cluster) as gate, _Watch(gate, stop) as watch:
                rows = _rows(share, plan, size, gate)
                yield from _answers(rows, set(share), watch)
        except ray.exceptions.RayError as error:
            raise ClusterError(
                f"the cluster failed: {_last_line(error)}",
                where=cluster.address,
                remedy="With --out, give the same command again to go on",
            ) from error


def _rows(
    share: dict[int, _Task],
    plan: WorkerPlan[_Task, _Answer],
    size: _WorkerSize,
    gate: Any,
) -> Iterator[dict[str, Any]]:
    """A row a task as Ray Data brings them."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    most = math.ceil(len(share) / plan.lanes)
    rows = [{"number": number, "task": pickle.dumps(task)} for number, task in share.items()]
    # A block holds one task: what a lost node must do again is what it had in flight. Nothing is
    # fetched ahead, because Ray then keeps each answer back until the next has come.
    batches = (
        ray.data.from_items(rows, override_num_blocks=len(rows))
        .map_batches(
            Worker,
            fn_constructor_args=(plan, gate),
            batch_size=1,
            num_cpus=size.processors,
            num_gpus=size.gpus or None,
            compute=ray.data.ActorPoolStrategy(
                min_size=1,
                max_size=most,
                initial_size=min(size.room, most),
                max_tasks_in_flight_per_actor=plan.lanes,
                max_concurrent_calls_per_actor=plan.lanes,
                enable_true_multi_threading=True,
            ),
        )
        .iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
    )
    return (row for batch in batches for row in batch.to_pylist())


def _answers(
    rows: Iterator[dict[str, Any]], expected: set[int], watch: _Watch
) -> Iterator[tuple[int, Any]]:
    """Each expected task's answer once; ends early when all that was begun before a stop is in."""
    missing = set(expected)
    for row in rows:
        number, content = int(row["number"]), row["answer"]
        if number == FAULT:
            raise pickle.loads(content)  # noqa: S301 - from this driver's own workers
        if content and number in missing:
            missing.remove(number)
            yield number, pickle.loads(content)  # noqa: S301 - as above
        begun = watch.begun
        if begun is not None and not begun & missing:
            return
    if missing and watch.begun is None:
        raise ClusterError(
            f"{len(missing)} videos came back without an answer",
            remedy="With --out, give the same command again to go on",
        )


@contextmanager
def _open_gate(cluster: Cluster) -> Iterator[Any]:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(cluster.driver, soft=False)
    gate = ray.remote(num_cpus=0)(Gate).options(scheduling_strategy=here).remote()
    try:
        yield gate
    finally:
        ray.kill(gate)


class _Watch:
    """Shuts the gate as soon as someone asks to stop, whatever the driver waits for.

    Attributes:
        begun: What had been begun by then; None while nobody has asked.
    """

    def __init__(self, gate: Any, stop: Callable[[], bool]) -> None:
        self.begun: set[int] | None = None
        self._gate = gate
        self._stop = stop
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="stop watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        import ray

        while not self._over.wait(_LOOKS):
            if self._stop():
                # Where the gate is lost so is the run, and the driver hears of it elsewhere.
                with suppress(ray.exceptions.RayError):
                    self.begun = ray.get(self._gate.shut.remote())
                return


def _last_line(error: BaseException) -> str:
    """Ray puts a remote traceback first, and what went wrong last."""
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return lines[-1].strip().rstrip(".") if lines else type(error).__name__
