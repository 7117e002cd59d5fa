"""Tasks on a Ray cluster: each once, share by share, until someone asks to stop.

Ray may end the process that joined a cluster when it loses it, so this one joins in a child.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.cluster import run as running
from vtloc_runtime.cluster.bundle_transfer import BundleTransfer
from vtloc_runtime.cluster.connection import open_cluster
from vtloc_runtime.cluster.run import run_on_cluster
from vtloc_runtime.cluster.versions import Software
from vtloc_runtime.cluster.worker import WorkerPlan
from vtloc_runtime.errors import ClusterError
from vtloc_runtime.localize.localizer import Localizer
from vtloc_runtime.video.isolation.decoder_process import DecoderLimits

pytest.importorskip("ray.data", reason="needs the ray extra")

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]

STORE = 80 * 2**20
PATIENCE = 240


def test_long_lists_go_part_by_part_and_several_at_once_in_a_worker(colour_bundle: Path) -> None:
    child = subprocess.run(
        [sys.executable, "-m", "tests.runtime.cluster.test_connection", str(colour_bundle)],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    # Its exit code says nothing: Ray may end it as it leaves the cluster.
    figures = child.stdout.split()
    assert len(figures) == 3, child.stderr
    workers, answers, stopped = map(int, figures)
    assert answers == 20
    # One worker for each of the three shares: only the wide node has room.
    assert workers == 3
    assert stopped < 20


class Count:
    """Tells which process did a task."""

    def do(self, localizer: Localizer, task: int, read: Any, **_: Any) -> tuple[int, int]:
        time.sleep(0.1)
        return task, os.getpid()

    def give_up(self, task: int, error: ClusterError) -> tuple[int, int]:
        raise error


def share_out(bundle: Path) -> None:
    """Print how many workers gave how many answers, and how many came when it was stopped."""
    from ray.cluster_utils import Cluster

    options = {"num_cpus": 1, "object_store_memory": STORE, "include_dashboard": False}
    nodes = Cluster(initialize_head=True, head_node_args=options)
    nodes.add_node(num_cpus=1, object_store_memory=STORE)
    nodes.add_node(num_cpus=3, object_store_memory=STORE)
    nodes.wait_for_nodes()
    running._TASKS_AT_ONCE = 8
    plan: WorkerPlan[Any, Any] = WorkerPlan(
        work=Count(),
        bundle=BundleTransfer.prepare(Bundle.open(bundle), None),
        localizer={"threads": 1},
        concurrency=3,
        limits=DecoderLimits(),
        folder=str(Path.cwd()),
        software=Software.here(),
    )
    try:
        with open_cluster(nodes.address) as joined:
            found = list(run_on_cluster(joined, plan, range(100, 120)))
            begun = itertools.count()
            stopped = list(run_on_cluster(joined, plan, range(20), stop=lambda: next(begun) > 2))
            if sorted(task for task, _ in found) != list(range(100, 120)):
                raise SystemExit(f"not each task once: {found}")
            print(len({process for _, process in found}), len(found), len(stopped), flush=True)
    finally:
        nodes.shutdown()


if __name__ == "__main__":
    share_out(Path(sys.argv[1]))
