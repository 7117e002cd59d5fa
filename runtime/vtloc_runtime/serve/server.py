"""Run the HTTP API until a signal ends it."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vtloc_runtime.errors import BackendError
from vtloc_runtime.serve.app import Parts, create_app
from vtloc_runtime.serve.folders import ServedFolders
from vtloc_runtime.serve.metrics import Metrics
from vtloc_runtime.serve.service import Service
from vtloc_runtime.serve.uploads import FOLDER, Uploads
from vtloc_runtime.serve.work_queue import WorkQueue
from vtloc_runtime.system.processors import available_processors
from vtloc_runtime.video import FrameSequence
from vtloc_runtime.video.isolation.limits import DecoderLimits

if TYPE_CHECKING:
    from vtloc_runtime.localize.encoding.feature_cache import FeatureCache
    from vtloc_runtime.localize.encoding.video_encoder import Observer
    from vtloc_runtime.localize.localizer import Localizer

# Each may hold a file too, and a process may open 1,024 by default.
_CONNECTIONS = 400
_KEPT_ALIVE = 15
_LOCAL = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """How to serve.

    Attributes:
        host: The address to listen on.
        port: The port; 0 takes a free one.
        names: More names by which the service may be called.
        at_once: Requests that are worked on at the same time; None means one for each processor.
        waiting: Requests that may wait.
        timeout: Seconds that a request may wait and take.
        uploads: Whether to take uploads.
        upload_bytes: Bytes of one upload, at most.
        uploads_bytes: Bytes of all uploads, at most.
        upload_timeout: Seconds in which an upload must arrive.
        limits: Limits of each decoder process.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    names: tuple[str, ...] = ()
    at_once: int | None = None
    waiting: int = 32
    timeout: float = 300.0
    uploads: bool = True
    upload_bytes: int = 2 * 2**30
    uploads_bytes: int = 8 * 2**30
    upload_timeout: float = 600.0
    limits: DecoderLimits = field(default_factory=DecoderLimits)

    @property
    def is_local(self) -> bool:
        """Whether only programs on this machine can reach the service."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def hosts(self) -> set[str]:
        """Names by which the service may be called."""
        return {name.lower() for name in (*_LOCAL, self.host, *self.names)}


def serve(
    open_localizer: Callable[[Observer], Localizer],
    folders: Sequence[Path],
    cache: FeatureCache,
    options: ServerOptions,
    *,
    ready: Callable[[str], None],
) -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests in progress.

    Args:
        open_localizer: Opens the localizer, given its observer.
        folders: Folders of videos.
        cache: Where encoded videos are kept.
        options: How to serve.
        ready: Called with the service's address once it is reachable.

    Raises:
        UsageError: A folder is not a folder.
        BackendError: The address cannot be listened on.
    """
    import uvicorn

    from vtloc_runtime.serve.connection import BoundedConnection

    served = ServedFolders(folders)
    metrics = Metrics()
    at_once = options.at_once or available_processors()
    with ExitStack() as stack:
        listener = stack.enter_context(_listen(options.host, options.port))
        localizer = stack.enter_context(open_localizer(metrics.observe_stage))
        uploads = None
        if options.uploads:
            uploads = Uploads(largest=options.upload_bytes, bound=options.uploads_bytes)
            stack.enter_context(uploads)
        service = Service(
            localizer,
            served,
            cache,
            limits=options.limits,
            timeout=options.timeout,
            decoders=at_once,
        )
        stack.callback(service.close)
        if uploads is not None:
            served.add(FOLDER, uploads.folder)
        work = WorkQueue(at_once, options.waiting, options.timeout)
        # By now it is empty, unless a second signal came.
        stack.callback(work.close, finish=False)
        parts = Parts(
            service=service,
            uploads=uploads,
            work=work,
            metrics=metrics,
            hosts=options.hosts,
            addresses=not options.is_local,
            upload_timeout=options.upload_timeout,
        )
        _warm_up(localizer)
        if localizer.bundle.manifest.shared_space is not None:
            service.update()
        config = uvicorn.Config(
            create_app(parts),
            http=BoundedConnection,
            log_config=None,
            # Callers could fill a log with warnings about what they send.
            log_level="error",
            access_log=False,
            ws="none",
            server_header=False,
            limit_concurrency=_CONNECTIONS,
            timeout_keep_alive=_KEPT_ALIVE,
            timeout_graceful_shutdown=int(options.timeout) + 1,
        )
        ready(_address(listener))
        uvicorn.Server(config).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens, so that a port in use is an error before networks are loaded.

    Raises:
        BackendError: The address cannot be listened on.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(128)
        except BaseException:
            listener.close()
            raise
    except (OSError, UnicodeError, OverflowError) as error:
        raise BackendError(
            f"cannot listen on port {port}: {getattr(error, 'strerror', None) or error}",
            where=host,
            remedy="Choose another --port or --host",
        ) from error
    return listener


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _warm_up(localizer: Localizer) -> None:
    """Run every network once: a network's first run is slower than later ones."""
    size = localizer.bundle.manifest.preprocessing.size
    black = np.zeros((8, size, size, 3), dtype=np.uint8)
    localizer.localize(FrameSequence(black, np.arange(8.0)), "anything at all")
