"""``vtloc-run bench``: measure how fast a bundle runs on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vtloc_runtime.bundle.user_folder import bundle_for
from vtloc_runtime.cli.console.option_groups import with_options
from vtloc_runtime.cli.console.program import new_application
from vtloc_runtime.cli.options import NetworkOptions
from vtloc_runtime.errors import OutputError, UsageError
from vtloc_runtime.system.atomic_write import atomic_write
from vtloc_runtime.system.output_check import check_output

if TYPE_CHECKING:
    from rich.table import Table

    from vtloc_runtime.bench.report import BenchReport

app = new_application()


@app.command(
    epilog="Exit codes: 0 measured; otherwise the codes of vtloc-run --help. 130 interrupted."
)
@with_options
def bench(
    *,
    options: NetworkOptions,
    batch: Annotated[
        str, typer.Option(help="Batch sizes, in frames or sentences, separated by commas.")
    ] = "1,8,32",
    frames: Annotated[
        str,
        typer.Option(help="Video lengths for the localizer, in frames, separated by commas."),
    ] = "64,256",
    tokens: Annotated[int, typer.Option(min=1, max=4096, help="Tokens of a sentence.")] = 16,
    callers: Annotated[
        int, typer.Option(min=1, max=1024, help="Threads that call the networks at the same time.")
    ] = 1,
    seconds: Annotated[
        float,
        typer.Option(min=0.01, max=3600.0, help="How long to repeat each measurement, seconds."),
    ] = 2.0,
    video: Annotated[
        Path | None, typer.Option(help="Video to use. Default: one is made, 720p.")
    ] = None,
    decoder: Annotated[str, typer.Option(help="Video decoder: cpu, nvdec or nvdec:N.")] = "cpu",
    out: Annotated[Path | None, typer.Option(help="Write the report here, as JSON.")] = None,
) -> None:
    """Measure the speed of each network, of decoding, and of the whole.

    Prints a table with rates and latencies.
    """
    from rich.console import Console

    from vtloc_runtime.bench.measure import BenchOptions, measure

    settings = BenchOptions(
        backend=options.backend,
        device=options.device,
        precision=options.precision,
        batches=_numbers(batch, "--batch"),
        frames=_numbers(frames, "--frames"),
        tokens=tokens,
        callers=callers,
        threads=options.threads,
        seconds=seconds,
        video=video,
        decoder=decoder,
    )
    bundle = options.open_bundle()
    if out is not None:
        inputs = [("the bundle", str(bundle.path))]
        inputs += [("the video", str(video))] if video is not None else []
        check_output(out, inputs=inputs, ours=lambda start: start.startswith(b"{\n"))
    bundle = bundle_for(bundle, options.backend)
    with Console(stderr=True).status("measuring") as status:
        report = measure(bundle, settings, progress=lambda what: status.update(f"measuring {what}"))
    Console().print(_table(report))
    if out is not None:
        _write(out, json.dumps(report.to_json(), indent=2) + "\n")


def _table(report: BenchReport) -> Table:
    from rich import box
    from rich.table import Table

    from vtloc_runtime.system.text import short_number

    table = Table(
        title=report.title,
        caption=report.caption,
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("stage", no_wrap=True)
    table.add_column("shape", min_width=10)
    table.add_column("item", no_wrap=True)
    for name in ("items/s", "p50 ms", "p90 ms", "p99 ms"):
        table.add_column(name, justify="right", no_wrap=True)
    for stage in report.stages:
        numbers = (stage.rate, stage.p50, stage.p90, stage.p99)
        table.add_row(stage.stage, stage.shape, stage.item, *map(short_number, numbers))
    return table


def _numbers(text: str, option: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < 1:
        raise UsageError(
            f"{text!r} is not a list of positive numbers",
            where=option,
            remedy="Write for example 1,8,32",
        )
    return numbers


def _write(path: Path, text: str) -> None:
    try:
        with atomic_write(path) as file:
            file.write(text.encode())
    except OSError as error:
        raise OutputError(f"cannot write the file: {error.strerror}", where=path) from error
