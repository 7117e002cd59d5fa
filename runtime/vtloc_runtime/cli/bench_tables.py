"""``vtloc-run bench``: the command line of measuring."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from vtloc_runtime.bench.measure import BenchOptions, bench
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.bundle.user_folder import bundle_for
from vtloc_runtime.cli.options import BundleDigestOption
from vtloc_runtime.errors import OutputError, UsageError
from vtloc_runtime.system.atomic_write import atomic_write
from vtloc_runtime.system.output_check import check_output

if TYPE_CHECKING:
    from vtloc_runtime.bench.report import BenchReport, StageResult

BEGIN, END = "<!-- bench begin -->", "<!-- bench end -->"


def bench_command(  # noqa: PLR0917 - the parameters of a command are its options
    bundle: Annotated[
        Path | None,
        typer.Option("--bundle", "-b", help="A bundle; without it the one that ships with vtloc."),
    ] = None,
    backend: Annotated[str, typer.Option(help="onnxruntime or tensorrt.")] = "onnxruntime",
    device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:N.")] = None,
    precision: Annotated[str | None, typer.Option(help="fp32, fp16, int8 or compact.")] = None,
    batch: Annotated[
        str, typer.Option(help="Frames or sentences in one run, separated by commas.")
    ] = "1,8,32",
    frames: Annotated[
        str, typer.Option(help="Lengths of the localizer's video, separated by commas.")
    ] = "64,256",
    tokens: Annotated[int, typer.Option(min=1, help="Tokens of a sentence.")] = 16,
    callers: Annotated[int, typer.Option(min=1, help="Threads that call at once.")] = 1,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of one run on the CPU.")
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=0.01, help="How long each measurement goes on.")
    ] = 2.0,
    video: Annotated[
        Path | None, typer.Option(help="A video of yours; without one, a 720p one is made.")
    ] = None,
    decoder: Annotated[str, typer.Option(help="cpu, nvdec or nvdec:N.")] = "cpu",
    out: Annotated[Path | None, typer.Option(help="Write the report here, as JSON.")] = None,
    table: Annotated[
        Path | None,
        typer.Option(help=f"Put the table into this document, between {BEGIN} and {END}."),
    ] = None,
    bundle_digest: BundleDigestOption = None,
) -> None:
    """Measure each stage and the whole, beside the roofline of this machine."""
    options = BenchOptions(
        backend=backend,
        device=device,
        precision=precision,
        batches=_numbers(batch, "--batch"),
        frames=_numbers(frames, "--frames"),
        tokens=tokens,
        callers=callers,
        threads=threads,
        seconds=seconds,
        video=video,
        decoder=decoder,
    )
    if table is not None:
        _read_document(table)
    console = Console(stderr=True)
    opened = Bundle.open(bundle, digest=bundle_digest)
    if out is not None:
        inputs = [("the bundle", str(opened.path))]
        inputs += [("the video", str(video))] if video is not None else []
        check_output(out, inputs=inputs, ours=lambda beginning: beginning.startswith(b"{\n"))
    opened = bundle_for(opened, options.backend)
    with console.status("measuring") as status:
        report = bench(opened, options, progress=lambda what: status.update(f"measuring {what}"))
    Console().print(bench_table(report))
    if out is not None:
        _write(out, json.dumps(report.to_json(), indent=2) + "\n")
    if table is not None:
        write_table(table, report)


def bench_table(report: BenchReport) -> Table:
    """The report, for a terminal."""
    shown = Table(
        title=_title(report),
        caption=_caption(report),
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for index, column in enumerate(_COLUMNS):
        if column == "shape":
            shown.add_column(column, min_width=10)
        else:
            shown.add_column(column, justify="left" if index < _WORDS else "right", no_wrap=True)
    for stage in report.stages:
        shown.add_row(*_cells(stage))
    return shown


def markdown(report: BenchReport) -> str:
    """The report, for a document."""
    rows = [_COLUMNS, ("---",) * _WORDS + ("--:",) * (len(_COLUMNS) - _WORDS)]
    rows += [_cells(stage) for stage in report.stages]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"**{_title(report)}**\n\n{table}\n\n{_caption(report)}"


def write_table(document: Path, report: BenchReport) -> None:
    """Put the report between the marks of a document.

    Raises:
        UsageError: The document has no marks.
        OutputError: It cannot be read or written.
    """
    text = _read_document(document)
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    _write(document, f"{before}{BEGIN}\n{markdown(report)}\n{END}{after}")


_COLUMNS = ("stage", "shape", "item", "items/s", "p50 ms", "p90", "p99", "of bound")
_WORDS = 3
"""Columns that hold words; the rest holds numbers."""


def _cells(stage: StageResult) -> tuple[str, ...]:
    reached = ""
    if stage.share is not None and stage.roofline is not None:
        reached = f"{stage.share:.0%} of {_short(stage.roofline)} {stage.bound_by[:3]}"
    latencies = (_short(milliseconds) for milliseconds in (stage.p50, stage.p90, stage.p99))
    return (stage.stage, stage.shape, stage.item, _short(stage.rate), *latencies, reached)


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _title(report: BenchReport) -> str:
    callers = "" if report.callers == 1 else f", {report.callers} callers"
    return f"{report.bundle}: {report.backend} {report.precision} on {report.processor}{callers}"


def _caption(report: BenchReport) -> str:
    lines = [f"Memory: {report.host_bytes / 1e6:,.0f} MB of this process"]
    if report.device_bytes:
        lines[0] += f", {report.device_bytes / 1e6:,.0f} MB on the GPU beside the weights"
    if report.peak is not None:
        peak = report.peak
        lines.append(
            f"Roofline: {peak.fp16 / 1e12:.3g} FP16 and {peak.fp32 / 1e12:.3g} FP32 Tflop/s, "
            f"{peak.bandwidth / 1e9:,.0f} GB/s ({peak.source}); com: bound by computing, "
            "mem: by memory"
        )
    lines.append(f"Video: {report.video}")
    return ". ".join((*lines, *report.notes)) + "."


def _numbers(text: str, option: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < 1:
        raise UsageError(
            f"{text!r} is no list of positive numbers", where=option, remedy="Write 1,8,32"
        )
    return numbers


def _read_document(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OutputError(f"cannot read the document: {error}", where=path) from error
    if BEGIN not in text or END not in text.partition(BEGIN)[2]:
        raise UsageError(
            "the document has no place for the table",
            where=path,
            remedy=f"Put {BEGIN} and {END} on lines of their own where it belongs",
        )
    return text


def _write(path: Path, text: str) -> None:
    try:
        with atomic_write(path) as file:
            file.write(text.encode())
    except OSError as error:
        raise OutputError(f"cannot write the file: {error.strerror}", where=path) from error
