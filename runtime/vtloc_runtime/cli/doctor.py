"""``vtloc-run doctor``: check what this machine can run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from vtloc_runtime.cli.console.option_groups import with_options
from vtloc_runtime.cli.console.program import new_application
from vtloc_runtime.cli.options import BundleOptions
from vtloc_runtime.errors import BackendError, BundleError

if TYPE_CHECKING:
    from vtloc_runtime.cli.diagnosis.findings import Diagnosis

app = new_application()

_MARKS = {"ok": ("ok", "green"), "absent": ("absent", "yellow"), "problem": ("problem", "red")}


@app.command(
    epilog="Exit codes: 0 something here can run the bundle; 5 the bundle is not valid; "
    "6 nothing can run it."
)
@with_options
def doctor(
    *,
    options: BundleOptions,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Check what this machine can run, and say why not the rest.

    Each backend runs the bundle once.
    """
    from vtloc_runtime.cli.diagnosis.diagnosis import diagnose

    diagnosis = diagnose(options.bundle, digest=options.bundle_digest)
    if json:
        import msgspec

        typer.echo(msgspec.json.encode(diagnosis.to_json()).decode())
    else:
        _print(diagnosis)
    if diagnosis.serves:
        return 0
    return BackendError.exit_code if diagnosis.services else BundleError.exit_code


def _print(diagnosis: Diagnosis) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from vtloc_runtime.system.text import plain

    console = Console(markup=False, highlight=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("part", "state", "what was found"):
        table.add_column(name, overflow="fold")
    for finding in diagnosis.findings:
        word, colour = _MARKS[finding.state]
        found = Text(plain(finding.detail))
        if finding.remedy:
            found.append(f"\n{plain(finding.remedy)}", style="dim")
        table.add_row(finding.subject, Text(word, style=colour), found)
    console.print(table)
    if not diagnosis.services:
        return
    services = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("backend", "device", "serves", "why"):
        services.add_column(name, overflow="fold")
    for service in diagnosis.services:
        why = Text(plain(service.detail))
        if service.remedy:
            why.append(f"\n{plain(service.remedy)}", style="dim")
        answer = Text("yes", style="green") if service.serves else Text("no", style="yellow")
        services.add_row(service.backend, service.device, answer, why)
    console.print(services)
