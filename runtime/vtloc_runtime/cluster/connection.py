"""A Ray cluster: joining it, or starting one on this machine, and what its nodes offer."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from vtloc_runtime.errors import ClusterError, MissingExtraError, UsageError
from vtloc_runtime.system.processors import available_processors
from vtloc_runtime.system.text import first_line

LOCAL = "local"
_AUTO = "auto"
_PATIENCE = 10.0
_STORE = 200 * 2**20
_REMEDY = "Start it with: ray start --head; or name another: --ray HOST:PORT, auto or local"


@dataclass(frozen=True, slots=True)
class Node:
    """One machine of the cluster.

    Attributes:
        id: Ray's name of it.
        address: Its address, for people.
        processors: Processors that Ray may give to workers.
        gpus: GPUs likewise.
    """

    id: str
    address: str
    processors: float
    gpus: float

    def workers(self, processors: float, gpus: float) -> int:
        """How many workers of this size it can hold."""
        fits = int(self.processors // processors)
        return min(fits, int(self.gpus // gpus)) if gpus else fits


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster that this process has joined.

    Attributes:
        address: As it was named.
        driver: Ray's name of the node that this process runs on.
    """

    address: str
    driver: str

    def nodes(self) -> list[Node]:
        """The machines that are alive now."""
        import ray

        return [
            Node(
                node["NodeID"],
                node["NodeManagerAddress"],
                node["Resources"].get("CPU", 0.0),
                node["Resources"].get("GPU", 0.0),
            )
            for node in ray.nodes()
            if node["Alive"]
        ]


@contextmanager
def open_cluster(address: str) -> Iterator[Cluster]:
    """Join a Ray cluster, and leave it at the end.

    Args:
        address: ``HOST:PORT`` or ``auto`` for one that runs, ``local`` for one on this machine
            that lives as long as the block.

    Raises:
        MissingExtraError: Ray is not installed.
        UsageError: The address is none.
        ClusterError: Nothing answers there, or it cannot be joined from here.
    """
    ray = _import_ray()
    _check_address(address)
    # Ray has workers import from the folder in which the driver joins, and downloads may lie there.
    with _quiet_start(), contextlib.chdir(os.sep):
        try:
            ray.init(
                address=address,
                log_to_driver=False,
                logging_level=logging.CRITICAL,
                **_local_options() if address == LOCAL else {},
            )
        except (Exception, SystemExit) as error:
            raise ClusterError(
                f"the cluster cannot be joined: {first_line(error)}",
                where=address,
                remedy="The driver must run on a node of the cluster, with the same Ray and Python",
            ) from error
    try:
        _spare_standard_output()
        yield Cluster(address, ray.get_runtime_context().get_node_id())
    finally:
        ray.shutdown()


def share(content: dict[str, bytes]) -> Any:
    """Put files where every node of the cluster that was joined can fetch them."""
    import ray

    return ray.put(content)


def _import_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtraError.of("ray", extra="ray", purpose="--ray") from error
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return ray


def _check_address(address: str) -> None:
    """Find out within seconds what Ray would find out in minutes."""
    if address == LOCAL:
        return
    if "://" in address:
        raise UsageError(
            "the driver must run on a node of the cluster, not behind Ray's client",
            where=address,
            remedy="Start it there, for instance with: ray job submit -- vtloc-run ... --ray auto",
        )
    named = os.environ.get("RAY_ADDRESS", "") if address == _AUTO else address
    if address == _AUTO and not named:
        # Ray knows at once whether one runs here.
        return
    host, _, port = named.rpartition(":")
    if not host or not port.isdecimal():
        raise UsageError(
            f"{address!r} is no address of a cluster",
            remedy="Give HOST:PORT, auto for the one that runs here, or local",
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(
            f"no Ray cluster answers: {error}", where=named, remedy=_REMEDY
        ) from error


def _spare_standard_output() -> None:
    """Keep Ray's word of lost nodes from among the results.

    It has no option for that; its debugger does the same.
    """
    # A Ray that keeps it elsewhere only prints more.
    with contextlib.suppress(ImportError):
        from ray._private import worker

        worker._worker_logs_enabled = False


def _local_options() -> dict[str, Any]:
    return {
        "num_cpus": available_processors(),
        "include_dashboard": False,
        "object_store_memory": _STORE,
    }


@contextmanager
def _quiet_start() -> Iterator[None]:
    """Keep Ray's native log out of standard error, which is for people.

    It says at start that it was told to be silent, and that is the last of it.
    """
    before = os.environ.get("RAY_BACKEND_LOG_LEVEL")
    os.environ["RAY_BACKEND_LOG_LEVEL"] = "fatal"
    sys.stderr.flush()
    kept = os.dup(2)
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)
        if before is None:
            with contextlib.suppress(KeyError):
                del os.environ["RAY_BACKEND_LOG_LEVEL"]
        else:
            os.environ["RAY_BACKEND_LOG_LEVEL"] = before
