"""A Ray cluster whose nodes are processes of this machine, in a process of its own.

Ray keeps much about a cluster in the process that joined it, and one that joins another after
nodes were killed may not survive that. So the cluster lives in a child (this file run as a
program), its drivers in others, and tests talk to them by pipes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib import import_module
from typing import Any

STORE = 80 * 2**20

# Ray allows a silent node some 30 s by default.
QUICK = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 2000,
    "health_check_failure_threshold": 4,
}


@dataclass(frozen=True, slots=True)
class RayNode:
    """One node: Ray's name of it, and the process that all of its workers descend from."""

    id: str
    process: int


class RayNodes:
    """The cluster as a test sees it; begins with a node that only holds the cluster's books.

    Args:
        environment: What every node has more in its environment.

    Attributes:
        address: For ``--ray``.
    """

    def __init__(self, **environment: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0", **environment},
        )
        try:
            self.address: str = self._answer()["address"]
        except BaseException:
            self.close()
            raise

    def add(self, processors: int, **environment: str) -> RayNode:
        """Start a node, whose workers have more in their environment."""
        answer = self._ask(do="add", processors=processors, environment=environment)
        return RayNode(answer["id"], answer["process"])

    def kill(self, node: RayNode) -> None:
        """Lose a node as a power cut does: all of its processes at once."""
        self._ask(do="kill", id=node.id)

    def close(self) -> None:
        """End every process of the cluster."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            _kill_tree(self._process.pid)
            self._process.wait()

    def _ask(self, **request: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the cluster's process has ended"
        return json.loads(line)


def _kill_tree(root: int) -> None:
    """SIGKILL to a process and all that descend from it, stopped first so that none is missed."""
    # Ray brings it along.
    import ray  # noqa: F401

    psutil: Any = import_module("psutil")
    try:
        parent = psutil.Process(root)
        parent.suspend()
        everyone = [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for process in everyone:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(everyone, timeout=10)


def _serve() -> None:
    from ray.cluster_utils import Cluster

    # Ray's children inherit standard output, and print; the pipe is for answers alone.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(**content: Any) -> None:
        answers.write(json.dumps(content) + "\n")
        answers.flush()

    options = {
        "num_cpus": 0,
        "object_store_memory": STORE,
        "include_dashboard": False,
        "_system_config": QUICK,
    }
    cluster = Cluster(initialize_head=True, head_node_args=options)
    nodes: dict[str, int] = {}
    try:
        answer(address=cluster.address)
        for line in sys.stdin:
            request = json.loads(line)
            if request["do"] == "add":
                node = cluster.add_node(
                    num_cpus=request["processors"],
                    object_store_memory=STORE,
                    env_vars=request["environment"],
                )
                nodes[node.node_id] = node.all_processes["raylet"][0].process.pid
                answer(id=node.node_id, process=nodes[node.node_id])
            elif request["do"] == "kill":
                _kill_tree(nodes.pop(request["id"]))
                answer()
    finally:
        for process in nodes.values():
            _kill_tree(process)
        cluster.shutdown()


if __name__ == "__main__":
    _serve()
