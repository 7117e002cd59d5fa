"""Tasks on a Ray cluster: each once, share by share, until someone asks to stop."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vtloc_runtime.bundle import Bundle
from vtloc_runtime.errors import ClusterError
from vtloc_runtime.isolation import DecoderLimits
from vtloc_runtime.localizer import Localizer
from vtloc_runtime.scale_out import running
from vtloc_runtime.scale_out.cluster import open_cluster
from vtloc_runtime.scale_out.parcel import BundleParcel
from vtloc_runtime.scale_out.running import run_on_cluster
from vtloc_runtime.scale_out.software import Software
from vtloc_runtime.scale_out.worker import WorkerPlan

pytest.importorskip("ray.data", reason="needs the ray extra")

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]

QUERIES = ("red", "the screen turns blue")
STORE = 80 * 2**20


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Two nodes, each with one processor; tests may add more and take those away again."""
    from ray.cluster_utils import Cluster

    options = {"num_cpus": 1, "object_store_memory": STORE, "include_dashboard": False}
    nodes = Cluster(initialize_head=True, head_node_args=options)
    try:
        nodes.add_node(num_cpus=1, object_store_memory=STORE)
        nodes.wait_for_nodes()
        yield nodes
    finally:
        nodes.shutdown()


def plan_of(bundle: Path, work: Any, *, lanes: int = 1) -> WorkerPlan[Any, Any]:
    return WorkerPlan(
        work=work,
        bundle=BundleParcel.of(Bundle.open(bundle), None),
        localizer={"threads": 1},
        lanes=lanes,
        limits=DecoderLimits(),
        folder=str(Path.cwd()),
        software=Software.here(),
    )


def test_long_lists_go_share_by_share_and_lanes_share_a_worker(
    cluster: Any, colour_bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Count:
        def do(self, localizer: Localizer, task: int, read: Any) -> tuple[int, int]:
            time.sleep(0.1)
            return task, os.getpid()

        def give_up(self, task: int, error: ClusterError) -> tuple[int, int]:
            raise NotImplementedError

    wide = cluster.add_node(num_cpus=3, object_store_memory=STORE)
    cluster.wait_for_nodes()
    monkeypatch.setattr(running, "_SHARE", 8)
    try:
        with open_cluster(cluster.address) as joined:
            plan = plan_of(colour_bundle, Count(), lanes=3)
            found = list(run_on_cluster(joined, plan, range(100, 120)))
            assert sorted(task for task, _ in found) == list(range(100, 120))
            # One worker for each of the three shares: only the wide node has room.
            assert len({process for _, process in found}) == 3
            begun = itertools.count()
            stopped = list(run_on_cluster(joined, plan, range(20), stop=lambda: next(begun) > 2))
            assert len(stopped) < 20
    finally:
        cluster.remove_node(wide, allow_graceful=False)
