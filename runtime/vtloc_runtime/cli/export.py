"""``vtloc-run export RESULTS``: hand finished results over, without searching again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vtloc_runtime.cli.console.option_groups import with_options
from vtloc_runtime.cli.console.program import new_application
from vtloc_runtime.cli.console.terminal import print_note
from vtloc_runtime.cli.outputs import OutputOptions
from vtloc_runtime.errors import UsageError

app = new_application()


@app.command(
    epilog="Films are read again for pictures, clips and frame rates, so run it where they can be "
    "found. Similarity and word curves come with the search itself: vtloc-run ... --report."
)
@with_options
def export(
    results: Annotated[
        Path, typer.Argument(help="Results that vtloc-run --out wrote; - is standard input.")
    ],
    *,
    options: OutputOptions,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no summary.")] = False,
) -> int:
    """Write finished results as a page, plots, clips, or a file for another program."""
    # Imported here, so that help does not load the packages of decoders.
    from vtloc_runtime.batch.results.results_reader import read_results
    from vtloc_runtime.cli.console.standard_input import StandardInput
    from vtloc_runtime.cli.output_writing import OutputSources, OutputWriter

    with StandardInput() as standard_input:
        records = read_results(standard_input.replace(results, kind="sentences"))
    films = dict.fromkeys(record.video for record in records)
    inputs = [("the results", str(results)), *(("a film of the results", film) for film in films)]
    options.check(films=len(films), inputs=[path for _, path in inputs])
    if not options.wanted:
        raise UsageError(
            "nothing to write",
            remedy="Add --format FORMAT, --report FILE, --plot DIR or --clips DIR",
        )

    def note(text: str) -> None:
        if not quiet:
            print_note(text)

    written = OutputWriter(options, OutputSources(inputs=inputs), note).write(records)
    if written:
        note(f"written to {' and '.join(map(str, written))}")
    return 0
