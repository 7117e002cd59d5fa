"""``vtloc-export verify``: the command line of parity."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from vtloc_runtime.errors import ParityError

if TYPE_CHECKING:
    from vtloc_export.parity.answers import ParityReport


def verify_command(
    bundle: Annotated[Path, typer.Argument(help="The bundle to verify.")],
    data: Annotated[
        Path | None,
        typer.Option(help="Labelled moments; their videos lie beside the file."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as JSON on standard output.")
    ] = False,
) -> None:
    """Hold every precision and backend of a bundle against its PyTorch model in FP32.

    Tensors: how far each network's outputs are. Answers: how many best moments stay where they
    were. Task, with --data: how recall and mIoU move. A broken bound is exit code 1.
    """
    from vtloc_export.parity.answers import verify_bundle

    console = Console(stderr=True)
    with console.status("opening the bundle") as status:
        report = verify_bundle(bundle, data=data, told=status.update)
    if as_json:
        sys.stdout.write(json.dumps(report.to_json(), indent=2) + "\n")
    else:
        _print(report)
    if report.broken:
        raise ParityError("; ".join(report.broken), where=bundle)


def _print(report: ParityReport) -> None:
    from vtloc_export.parity.measures import worst

    console = Console()
    tensors = Table(title="Tensors, against PyTorch in FP32")
    for column in ("network", "precision", "computed by", "max abs", "mean abs", "cosine",
                   "relative L2", ""):  # fmt: skip
        tensors.add_column(column)
    for item in report.tensors:
        most = worst(parity.worst for parity in item.outputs)
        tensors.add_row(
            item.network, item.precision, item.arithmetic, f"{most.max_abs:.1e}",
            f"{most.mean_abs:.1e}", f"{most.cosine:.6f}", f"{most.relative_l2:.1e}",
            item.broken or "ok",
        )  # fmt: skip
    console.print(tensors)
    answers = Table(title="Answers, against PyTorch in FP32")
    for column in ("backend", "precision", "queries", "same", "IoU", "drift (points)", ""):
        answers.add_column(column)
    for chain in report.answers:
        drift = ", ".join(f"{name} {value:+.2f}" for name, value in chain.drift.items())
        answers.add_row(
            chain.backend, chain.precision, str(chain.queries), f"{chain.same:.1%}",
            f"{chain.iou:.4f}", drift or "no labels", chain.broken or "ok",
        )  # fmt: skip
    console.print(answers)
    for reason in report.unverified:
        console.print(f"not verified here: {reason}", markup=False)
