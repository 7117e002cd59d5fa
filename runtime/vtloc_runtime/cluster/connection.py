"""The connection to a Ray cluster, which is joined or started on this machine; its nodes."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import socket
import sys
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TextIO, cast

from vtloc_runtime.errors import ClusterError, MissingExtraError, UsageError
from vtloc_runtime.system.processors import available_processors
from vtloc_runtime.system.text import first_line

LOCAL = "local"
_AUTO = "auto"
_CONNECT_TIMEOUT = 10.0
_STORE = 200 * 2**20
_REMEDY = "Start one with ray start --head, or give --ray HOST:PORT, auto or local"


@dataclass(frozen=True, slots=True)
class Node:
    """One machine of the cluster.

    Attributes:
        id: Ray's id of the node.
        address: Its address.
        processors: Processors that Ray may give to workers.
        gpus: GPUs that Ray may give to workers.
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
        address: Its address, as it was given.
        driver: Ray's id of the node that this process runs on.
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
        UsageError: The address is not valid.
        ClusterError: Nothing answers there, or it cannot be joined from here.
    """
    ray = _import_ray()
    _check_address(address)
    # Workers import from the folder in which the driver joins, and it may hold downloads.
    threads_before = set(threading.enumerate())
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
                remedy="Run vtloc-run on a node of the cluster, with the same Ray and Python",
            ) from error
    try:
        output = _StandardOutput(sys.stdout, set(threading.enumerate()) - threads_before)
        # Ray has no option for what it prints of lost nodes, and results must stay readable.
        with contextlib.redirect_stdout(cast("TextIO", output)):
            yield Cluster(address, ray.get_runtime_context().get_node_id())
    finally:
        # Ray prints the rest of its news while it shuts down.
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            ray.shutdown()


def share(content: dict[str, bytes]) -> Any:
    """Put files into Ray's object store, and return the reference to them."""
    import ray

    return ray.put(content)


def _import_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtraError.for_package("ray", extra="ray", purpose="--ray") from error
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return ray


def _check_address(address: str) -> None:
    """Check an address within seconds; Ray would take minutes."""
    if address == LOCAL:
        return
    if "://" in address:
        raise UsageError(
            "the driver must run on a node of the cluster, not behind Ray's client",
            where=address,
            remedy="Start it there, for example with: ray job submit -- vtloc-run ... --ray auto",
        )
    named = os.environ.get("RAY_ADDRESS", "") if address == _AUTO else address
    if address == _AUTO and not named:
        # Ray knows at once whether one runs here.
        return
    host, _, port = named.rpartition(":")
    if not host or not port.isdecimal():
        raise UsageError(
            f"{address!r} is not the address of a cluster",
            remedy="Use HOST:PORT, auto (the one running here), or local (start one)",
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_TIMEOUT).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(
            f"no Ray cluster answers: {error}", where=named, remedy=_REMEDY
        ) from error


class _StandardOutput:
    """Standard output without the text that Ray's threads print, such as news of lost nodes.

    Args:
        stream: Standard output.
        ray_threads: The threads whose text is dropped.
    """

    def __init__(self, stream: TextIO, ray_threads: Collection[threading.Thread]) -> None:
        self._stream = stream
        self._ray_threads = ray_threads

    def write(self, text: str) -> int:
        """Write text, unless one of Ray's threads prints it."""
        if threading.current_thread() in self._ray_threads:
            return len(text)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _local_options() -> dict[str, Any]:
    return {
        "num_cpus": available_processors(),
        "include_dashboard": False,
        "object_store_memory": _STORE,
    }


@contextmanager
def _quiet_start() -> Iterator[None]:
    """Keep the native log that Ray writes while it starts out of standard error."""
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
