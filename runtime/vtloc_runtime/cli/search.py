"""``vtloc-run search LIBRARY -q "sentence"``: the films of a library that show a sentence best."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from vtloc_runtime.batch.jobs import read_videos
from vtloc_runtime.bundle.user_folder import bundle_for
from vtloc_runtime.cli.exit_codes import exit_code_of_failures
from vtloc_runtime.cli.interrupts import Interruption
from vtloc_runtime.cli.main import PROGRAM
from vtloc_runtime.cli.options import RunOptions, with_options
from vtloc_runtime.cli.program import new_application
from vtloc_runtime.cli.progress import RunProgress
from vtloc_runtime.cli.terminal import (
    print_line,
    print_ranking,
    sandbox_note,
    write_lines,
)
from vtloc_runtime.errors import OutputError, UsageError
from vtloc_runtime.system.processors import available_processors

if TYPE_CHECKING:
    from collections.abc import Callable

    from vtloc_runtime.batch.records import Record
    from vtloc_runtime.library.search import Library

app = new_application()


@app.command(
    epilog="Exit codes: 0 every sentence was searched for in every film; 1 some films cannot be "
    "read; otherwise the codes of vtloc-run --help. 130 interrupted."
)
@with_options
def search(
    library: Annotated[
        list[str],
        typer.Argument(
            help="The films: a folder, a list, a pattern, or several, as for vtloc-run."
        ),
    ],
    *,
    query: Annotated[
        list[str] | None,
        typer.Option(
            "--query",
            "-q",
            help="Sentence to search for; repeatable. None: only bring the index up to date.",
        ),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Maximum number of films per sentence.")] = 20,
    moments: Annotated[
        int, typer.Option("--moments", "-k", min=1, help="Maximum number of moments per film.")
    ] = 1,
    min_score: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="Leave out moments with a lower score."),
    ] = 0.0,
    found_only: Annotated[
        bool, typer.Option("--found-only", help="Leave out films without such a moment.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON lines, even on a terminal.")] = (
        False
    ),
    options: RunOptions,
) -> int:
    """Search all films of a library and return the best moments.

    Films are ranked by presence: how clearly they show what the sentence describes. The first
    search encodes the films and writes an index beside the feature cache; later ones only look at
    what is new or has changed.
    """
    # Imported here, so that help does not load the packages of decoders and networks.
    from vtloc_runtime.library.search import Library, SearchOptions
    from vtloc_runtime.localize.localizer import Localizer, check_moments
    from vtloc_runtime.localize.questions.tokenizer import clean_query

    queries = query or []
    for sentence in queries:
        clean_query(sentence)
    check_moments(moments)
    if options.ray is not None:
        raise UsageError(
            "a library is searched on one machine",
            remedy="Encode the films on the cluster first: vtloc-run encode LIBRARY --ray ADDRESS",
        )
    chosen = SearchOptions(top, moments, min_score, found_only)
    bundle = bundle_for(options.open_bundle(), options.backend)
    pipeline = options.pipeline()
    if pipeline.cache is None:
        raise OutputError(
            "the feature cache has no folder", remedy="Set the environment variable VTLOC_CACHE"
        )
    with ExitStack() as stack:
        workers = pipeline.workers_for(available_processors())
        localizer = stack.enter_context(
            Localizer.open(
                bundle,
                backend=options.backend,
                device=options.device,
                precision=options.precision,
                threads=options.threads or max(1, available_processors() // workers),
                batch=options.batch,
                reuse=options.frame_reuse,
                fps=options.fps,
            )
        )
        notice = _notice(options)
        films = Library(
            library,
            localizer,
            pipeline.cache,
            pipeline=pipeline,
            listing=lambda: read_videos(library, videos=options.videos_folder, notice=notice),
            notice=notice,
        )
        interrupted = _update(films, options)
        if interrupted is not None:
            return interrupted
        for records in films.search(queries, chosen):
            _show(records, json=json)
        if not options.quiet:
            _summarize(films)
        failures = Counter(failure.kind for failure in films.failures.values())
        return exit_code_of_failures(failures, total=len(films.films))


def _notice(options: RunOptions) -> Callable[[str], None]:
    def show(line: str) -> None:
        if not options.quiet:
            print_line(f"{PROGRAM}: {line}")

    return show


def _update(films: Library, options: RunOptions) -> int | None:
    """Bring the index up to date; the exit code if a signal stopped that."""
    shown = sys.stderr.isatty() and not options.quiet
    changes = films.changes()
    with (
        Interruption(graceful=True) as interruption,
        RunProgress(
            changes.changed, shown=shown and bool(changes.changed), limits=options.decoder_limits
        ) as progress,
    ):
        films.update(
            changes,
            progress=progress.reached,
            done=progress.advance,
            stop=lambda: interruption.asked,
        )
    if interruption.asked and films.waiting:
        print_line(
            f"{PROGRAM}: stopped: {len(films.waiting)} films are not indexed yet; run the same "
            "command again to resume"
        )
        return interruption.exit_code
    return None


def _show(records: list[Record], *, json: bool) -> None:
    from vtloc_runtime.batch.records import encode_record

    if json or not sys.stdout.isatty():
        write_lines(b"".join(encode_record(record) for record in records))
    elif records:
        print_ranking(records)


def _summarize(films: Library) -> None:
    for video, failure in films.failures.items():
        advice = f". {failure.remedy}" if failure.remedy else ""
        print_line(f"{PROGRAM}: {failure.kind} error: {video}: {failure.what}{advice}")
    readable = len(films.films) - len(films.failures)
    seconds = sum(film.duration for film in films.films.values())
    print_line(f"{PROGRAM}: searched {readable} films, {seconds / 3600:.1f} hours{sandbox_note()}")
