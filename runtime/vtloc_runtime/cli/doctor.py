"""``vtloc-run doctor``: what this machine can run, and why not the rest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vtloc_runtime.cli.options import BundleDigestOption, BundleOption
from vtloc_runtime.cli.program import new_application
from vtloc_runtime.errors import BackendError, BundleError

if TYPE_CHECKING:
    from vtloc_runtime.cli.examination import Diagnosis

app = new_application()

_MARKS = {"ok": ("ok", "green"), "absent": ("absent", "yellow"), "problem": ("problem", "red")}


@app.command(
    epilog="Exit codes: 0 something here can run the bundle; 5 the bundle is at fault; "
    "6 nothing can run it."
)
def doctor(
    *,
    bundle: BundleOption = None,
    bundle_digest: BundleDigestOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Say what this machine can run, and why not the rest.

    Every backend is tried on the bundle, not only looked for.
    """
    return _examine(bundle, bundle_digest, as_json=json)


def _examine(bundle: Path | None, digest: str | None, *, as_json: bool) -> int:
    from vtloc_runtime.cli.examination import examine

    diagnosis = examine(bundle, digest=digest)
    if as_json:
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
