"""``vtloc-export verify``: the command line of parity."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vtloc_runtime.system.tables import print_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vtloc_export.parity.report import ParityReport


def verify_command(
    bundle: Annotated[Path, typer.Argument(help="The bundle to verify.")],
    data: Annotated[
        Path | None,
        typer.Option(help="Labelled moments, in the folder of their videos."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as JSON on standard output.")
    ] = False,
) -> None:
    """Compare every precision and backend of a bundle with its PyTorch model in FP32.

    Tensors: how far each network's outputs differ. Answers: how many best moments stay the same.
    Task, with --data: how recall and mIoU change. A difference beyond its bound is exit code 1.
    """
    from rich.console import Console

    from vtloc_export.errors import ParityError
    from vtloc_export.parity.verification import verify_bundle

    console = Console(stderr=True)
    with console.status("opening the bundle") as status:
        report = verify_bundle(bundle, data=data, progress=status.update)
    if as_json:
        sys.stdout.write(json.dumps(report.to_json(), indent=2) + "\n")
    else:
        _print(report)
    if report.broken:
        raise ParityError("; ".join(report.broken), where=bundle)


def _print(report: ParityReport) -> None:
    from vtloc_export.parity.measures import worst

    rows = []
    for item in report.tensors:
        most = worst(parity.worst for parity in item.outputs)
        rows.append([
            f"{item.network} {item.precision}", item.arithmetic, f"{most.max_abs:.1e}",
            f"{most.mean_abs:.1e}", f"{most.cosine:.6f}", f"{most.relative_l2:.1e}",
            "BROKEN" if item.broken else "ok",
        ])  # fmt: skip
    print_table(
        "Tensors, compared with PyTorch in FP32",
        ["network", "computed by", "max abs", "mean abs", "cosine", "rel. L2", "bound"],
        rows,
    )
    sys.stdout.write("\n")
    rows = []
    for chain in report.answers:
        drift = max(chain.drift.items(), key=lambda entry: abs(entry[1]), default=None)
        rows.append([
            f"{chain.backend} {chain.precision}", str(chain.queries), f"{chain.same:.1%}",
            f"{chain.iou:.4f}", "no labels" if drift is None else f"{drift[0]} {drift[1]:+.2f}",
            "BROKEN" if chain.broken else "ok",
        ])  # fmt: skip
    print_table(
        "Answers, compared with PyTorch in FP32",
        ["backend", "queries", "same", "IoU", "largest drift (points)", "bound"],
        rows,
    )
    for chain in report.answers:
        if chain.near_ties:
            sys.stdout.write(
                f"{chain.near_ties:.1%} of the answers of {chain.backend} in {chain.precision} "
                "moved to a near-tie: a moment that PyTorch scores within 1 % of its best. They "
                "count as the same.\n"
            )
    for reason in report.broken:
        sys.stdout.write(f"broken: {reason}\n")
    for reason in _grouped(report.unverified):
        sys.stdout.write(f"not verified here: {reason}\n")


def _grouped(reasons: Iterable[str]) -> Iterator[str]:
    """Each reason once, after everything that it applies to."""
    concerned: dict[str, list[str]] = {}
    for reason in reasons:
        what, _, why = reason.partition(": ")
        concerned.setdefault(why, []).append(what)
    for why, parts in concerned.items():
        yield f"{'; '.join(parts)}: {why}"
