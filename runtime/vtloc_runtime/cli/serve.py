"""``vtloc-run serve FOLDER...``: a page and an HTTP API over the videos of folders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vtloc_runtime.bundle.user_folder import bundle_for
from vtloc_runtime.cli.console.option_groups import with_options
from vtloc_runtime.cli.console.program import new_application
from vtloc_runtime.cli.console.terminal import print_note
from vtloc_runtime.cli.options import MOST_GIBIBYTES, NetworkOptions
from vtloc_runtime.errors import MissingExtraError
from vtloc_runtime.system.cache_folder import DEFAULT_CACHE_BYTES
from vtloc_runtime.system.processors import MOST_WORKERS, available_processors
from vtloc_runtime.video.isolation.limits import LONGEST, DecoderLimits

if TYPE_CHECKING:
    from vtloc_runtime.localize.encoding.video_encoder import Observer
    from vtloc_runtime.localize.localizer import Localizer

app = new_application()

_GIBIBYTE = 2**30
_MEBIBYTE = 2**20
_MOST_MEBIBYTES = 1e9
_MOST_WAITING = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """How to serve."""

    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1"
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = 8000
    name: Annotated[
        list[str] | None,
        typer.Option(
            "--name",
            help="A host name that requests may use, beside the address and localhost; repeatable.",
        ),
    ] = None
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, max=MOST_WORKERS, help="Requests processed at once. Default: one per processor."
        ),
    ] = None
    waiting: Annotated[
        int,
        typer.Option(
            min=0, max=_MOST_WAITING, help="Requests that may wait; more are answered 503."
        ),
    ] = 32
    timeout: Annotated[
        float, typer.Option(min=1.0, max=LONGEST, help="Maximum time to answer a request, seconds.")
    ] = 300.0
    uploads: Annotated[bool, typer.Option("--uploads/--no-uploads", help="Accept uploads.")] = True
    upload_size: Annotated[
        float, typer.Option(min=0.001, max=_MOST_MEBIBYTES, help="Maximum size of an upload, MiB.")
    ] = 2048.0
    cache_size: Annotated[
        float,
        typer.Option(min=0.0, max=MOST_GIBIBYTES, help="Maximum size of the feature cache, GiB."),
    ] = DEFAULT_CACHE_BYTES / _GIBIBYTE
    require_sandbox: Annotated[
        bool,
        typer.Option(
            "--require-sandbox", help="Fail if a layer of the decoder's sandbox is missing."
        ),
    ] = False


@app.command(epilog="Ends with SIGTERM or Ctrl-C, after the requests in progress.")
@with_options
def serve(
    folders: Annotated[list[Path], typer.Argument(help="Folders of videos.")],
    *,
    options: ServeOptions,
    network: NetworkOptions,
) -> None:
    """Serve a page and an HTTP API that find moments in the videos of some folders.

    Only videos below the folders are served, and links are not followed. There are no passwords:
    anyone who reaches the port can watch the videos.
    """
    # Imported here, so that help does not load the packages of the service.
    try:
        from vtloc_runtime.serve.server import ServerOptions
        from vtloc_runtime.serve.server import serve as run_server
    except ImportError as error:
        package = (error.name or "").partition(".")[0]
        raise MissingExtraError.for_package(
            package, extra="serve", purpose="serve", cause=error
        ) from error
    from vtloc_runtime.localize.encoding.feature_cache import FeatureCache
    from vtloc_runtime.localize.localizer import Localizer

    chosen = ServerOptions(
        host=options.host,
        port=options.port,
        names=tuple(options.name or ()),
        at_once=options.workers,
        waiting=options.waiting,
        timeout=options.timeout,
        uploads=options.uploads,
        upload_bytes=int(options.upload_size * _MEBIBYTE),
        uploads_bytes=4 * int(options.upload_size * _MEBIBYTE),
        limits=DecoderLimits(require_sandbox=options.require_sandbox),
    )
    if not chosen.is_local:
        print_note(
            f"warning: {options.host} is reachable from other machines, and there are "
            "no passwords; put a proxy with passwords and TLS in front of the service"
        )
    bundle = bundle_for(network.open_bundle(), network.backend)
    workers = options.workers or available_processors()

    def open_localizer(observer: Observer) -> Localizer:
        return Localizer.open(
            bundle,
            backend=network.backend,
            device=network.device,
            precision=network.precision,
            threads=network.threads or max(1, available_processors() // workers),
            observer=observer,
        )

    cache = FeatureCache(bound=int(options.cache_size * _GIBIBYTE))
    run_server(
        open_localizer,
        folders,
        cache,
        chosen,
        ready=lambda address: print_note(f"serving at {address}"),
    )
