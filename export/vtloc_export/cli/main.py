"""``vtloc-export``: checkpoints to bundles, bundles to engines, and proof that both are right."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from vtloc_export.cli.progress import ExportBar
from vtloc_export.cli.trt import trt_command
from vtloc_export.cli.verify import verify_command
from vtloc_export.options import ExportOptions
from vtloc_export.signatures import PRECISIONS, Precision
from vtloc_runtime.errors import UsageError, VtlocError

if TYPE_CHECKING:
    from vtloc_export.bundle_export import ExportReport

_INTERRUPTED = 130
# Typer carries its own click in some versions and imports it in others; this is either one's.
_MISUSE: Any = typer.BadParameter.__base__

app = typer.Typer(
    help="Turn a localizer into a bundle, a bundle into engines, and prove both right.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("trt")(trt_command)
app.command("verify")(verify_command)


@app.command("onnx")
def onnx_command(  # noqa: PLR0917 - the parameters of a command are its options
    source: Annotated[
        Path, typer.Argument(help="A localizer's checkpoint, or a bundle to export again from.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The bundle's directory.")],
    precision: Annotated[
        str, typer.Option(help=f"Comma-separated, of {', '.join(PRECISIONS)}.")
    ] = "fp32,fp16",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a bundle that is there.")
    ] = False,
    name: Annotated[str | None, typer.Option(help="The bundle's name, for people.")] = None,
    license: Annotated[  # noqa: A002 - the option's name
        str | None, typer.Option(help="Licence of the weights.")
    ] = None,
    fps: Annotated[
        float | None, typer.Option(help="Frames a second that videos are sampled at.")
    ] = None,
    no_lint: Annotated[
        bool, typer.Option("--no-lint", help="Leave out Polygraphy's lint.")
    ] = False,
) -> None:
    """Export a localizer and its encoders to ONNX, checked against PyTorch.

    Three networks are traced, each in every precision, and held against the PyTorch modules over
    many shapes, padded and not. Half precision is judged in true half arithmetic. Only when all
    checks pass does the bundle appear at its place.
    """
    # Engines are built on machines without PyTorch, by the same program.
    from vtloc_export.bundle_export import export_bundle

    options = ExportOptions(
        precisions=parse_precisions(precision),
        overwrite=overwrite,
        name=name,
        license=license,
        frames_per_second=_rate(fps),
        lint=not no_lint,
    )
    with ExportBar() as progress:
        report = export_bundle(source, out, options, progress)
    _print_report(report)


def parse_precisions(text: str) -> tuple[Precision, ...]:
    """Read a list of precisions, in the order of ``PRECISIONS``.

    Raises:
        UsageError: One of them is unknown, or there is none.
    """
    named = {word.strip() for word in text.split(",") if word.strip()}
    if unknown := named - set(PRECISIONS):
        raise UsageError(
            f"there is no precision {', '.join(sorted(unknown))}",
            where="--precision",
            remedy=f"Use {', '.join(PRECISIONS)}",
        )
    if not named:
        raise UsageError("it names no precision", where="--precision")
    return tuple(precision for precision in PRECISIONS if precision in named)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit code.

    Args:
        arguments: What follows the program's name; None reads it from the process.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = app(args=words or ["--help"], prog_name="vtloc-export", standalone_mode=False)
    except VtlocError as error:
        _fail(str(error), error.exit_code)
    except _MISUSE as error:
        message: str = error.format_message()
        _fail(message, UsageError.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        _fail("stopped", _INTERRUPTED)
    raise SystemExit(code or 0)


def _fail(message: str, code: int) -> NoReturn:
    sys.stderr.write(f"vtloc-export: {' '.join(message.split())}\n")
    raise SystemExit(code)


def _rate(fps: float | None) -> float | None:
    if fps is not None and not 0 < fps < float("inf"):
        raise UsageError("the rate must be positive", where="--fps")
    return fps


def _print_report(report: ExportReport) -> None:
    table = Table(title=f"{report.bundle.manifest.name}: {report.bundle.path}")
    for column in ("network", "precision", "MB", "worst cosine", "worst relative L2"):
        table.add_column(column, justify="left" if column in {"network", "precision"} else "right")
    for item in report.networks:
        cosine = min(parity.worst.cosine for parity in item.parity)
        apart = max(parity.worst.relative_l2 for parity in item.parity)
        size = len(item.content) / 1e6
        table.add_row(item.network, item.precision, f"{size:.1f}", f"{cosine:.6f}", f"{apart:.1e}")
    Console().print(table)
