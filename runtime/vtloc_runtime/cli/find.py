"""``vtloc-run VIDEO... -q "sentence"``: the command line that finds moments."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from vtloc_runtime.cli.console.option_groups import with_options
from vtloc_runtime.cli.console.program import VersionOption, new_application
from vtloc_runtime.cli.options import QuestionOptions, RunOptions
from vtloc_runtime.cli.outputs import OutputOptions

_EPILOG = """
Other commands: vtloc-run search (search a library of videos), vtloc-run serve (a page and an HTTP
API), vtloc-run mcp (tools for agents), vtloc-run export (hand over finished results), vtloc-run
encode (encode videos in advance), vtloc-run bundles (list bundles by name), vtloc-run doctor
(check what this machine can run), vtloc-run bench (measure speed).

Exit codes: 0 every sentence was answered; 1 some sentences failed. If all failed for the same
reason, or nothing could be done: 2 usage, 3 video, 4 sentence, 5 bundle, 6 backend, 7 network,
8 output, 9 job list, 14 features, 16 engine, 17 missing package, 19 cluster. 70 a bug in vtloc;
130 interrupted; 143 stopped by SIGTERM; 141 the reader of the output has closed it.
"""

app = new_application()


@dataclass(frozen=True, slots=True, kw_only=True)
class FindOptions(QuestionOptions):
    """What to search for, and what to do with the answers."""

    queries: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File of sentences, one per line; - is standard input."),
    ] = None
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Write the results here as JSON lines; - is standard output. The same command "
            "resumes an interrupted run.",
        ),
    ] = None
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the results in --out.")
    ] = False
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Repeat the jobs that failed.")
    ] = False
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Remove damaged lines from --out. The old file is kept."),
    ] = False
    in_order: Annotated[
        bool, typer.Option("--in-order", help="Write --out in the order of the videos.")
    ] = False
    always_answer: Annotated[
        bool,
        typer.Option(
            "--always-answer", help='Never say "no such moment"; return the best moment there is.'
        ),
    ] = False
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="Look at keyframes first, then only around the best candidates: several times "
            "faster on long videos. An answer may differ. Later runs look only at the rest.",
        ),
    ] = False
    decoding: Annotated[
        str | None,
        typer.Option(
            help="joint, argmax, soft, similarity or combined. Default: as the bundle says."
        ),
    ] = None
    fine: Annotated[
        bool,
        typer.Option(
            "--fine",
            help="Look again around each moment's ends, and place them to a quarter of a second.",
        ),
    ] = False
    cache: Annotated[
        bool, typer.Option("--cache/--no-cache", help="Keep encoded videos for later runs.")
    ] = True


@app.command(epilog=_EPILOG)
@with_options
def find(
    videos: Annotated[
        list[str],
        typer.Argument(
            help="Videos, folders, patterns, or lists: .txt (one video per line), .csv (columns "
            "video, query, like, id), .jsonl (objects with video and query or queries, rewrites, "
            "like), or annotations of ActivityNet Captions, Charades-STA or QVHighlights. - is a "
            "video or a list on standard input."
        ),
    ],
    *,
    find_options: FindOptions,
    output_options: OutputOptions,
    run_options: RunOptions,
    version: VersionOption = False,  # noqa: ARG001 - its callback has done the work by now
) -> int:
    """Find the moments of videos that sentences describe.

    Prints a table on a terminal, and JSON lines to a pipe or to --out. If a video fails, its
    error is recorded and the other videos are still processed.
    """
    # Imported here, so that help does not load the packages of decoders and networks.
    from vtloc_runtime.cli.find_run import run_find

    return run_find(videos, find_options, output_options, run_options)
