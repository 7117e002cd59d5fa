"""``vtloc-run mcp FOLDER...``: tools for agents that find moments in the videos of folders."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from vtloc_runtime.bundle.user_folder import bundle_for
from vtloc_runtime.cli.console.exit_codes import PIPE_CLOSED
from vtloc_runtime.cli.console.interrupts import leave_at_once, leaving_at_once
from vtloc_runtime.cli.console.option_groups import with_options
from vtloc_runtime.cli.console.program import new_application
from vtloc_runtime.cli.options import NetworkOptions
from vtloc_runtime.errors import MissingExtraError
from vtloc_runtime.system.processors import available_processors
from vtloc_runtime.video.isolation.limits import LONGEST

app = new_application()


@app.command(
    epilog="An agent starts this program itself: give it the command vtloc-run with the arguments "
    "mcp and the folders."
)
@with_options
def mcp(
    folders: Annotated[list[Path], typer.Argument(help="Folders of videos.")],
    *,
    timeout: Annotated[
        float, typer.Option(min=1.0, max=LONGEST, help="Maximum time to read one video, seconds.")
    ] = 300.0,
    network: NetworkOptions,
) -> None:
    """Give agents tools to find moments: find, search and describe (Model Context Protocol).

    Speaks on standard input and output until standard input ends. Only videos below the folders
    can be asked about, and links are not followed.
    """
    # Imported here, so that help does not load the packages of the service.
    try:
        from vtloc_runtime.serve.agent_conversation import converse
    except ImportError as error:
        package = (error.name or "").partition(".")[0]
        raise MissingExtraError.for_package(
            package, extra="mcp", purpose="mcp", cause=error
        ) from error
    from vtloc_runtime.localize.encoding.feature_cache import FeatureCache
    from vtloc_runtime.localize.localizer import Localizer
    from vtloc_runtime.serve.folders import ServedFolders
    from vtloc_runtime.serve.service import Service

    served = ServedFolders(folders)
    bundle = bundle_for(network.open_bundle(), network.backend)
    with ExitStack() as stack:
        localizer = stack.enter_context(
            Localizer.open(
                bundle,
                backend=network.backend,
                device=network.device,
                precision=network.precision,
                threads=network.threads or max(1, available_processors() // 2),
            )
        )
        service = Service(localizer, served, FeatureCache(), timeout=timeout, decoders=2)
        stack.callback(service.close)
        stack.callback(_divert_stdout)
        with leaving_at_once("vtloc-run: stopped"):
            converse(service, leave=partial(leave_at_once, PIPE_CLOSED))


def _divert_stdout() -> None:
    """Send to standard error what was printed during the protocol and still waits in a buffer."""
    with suppress(OSError, ValueError):
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
