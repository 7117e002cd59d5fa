"""``vtloc-run search LIBRARY -q "sentence"``: the films of a library that show a sentence best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from vtloc_runtime.cli.console.option_groups import with_options
from vtloc_runtime.cli.console.program import new_application
from vtloc_runtime.cli.options import QuestionOptions, RunOptions
from vtloc_runtime.cli.outputs import OutputOptions

app = new_application()

_MOST_FILMS = 10**6


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRequest(QuestionOptions):
    """What to search for, and what to return."""

    query: Annotated[
        list[str] | None,
        typer.Option(
            "--query",
            "-q",
            help="Sentence to search for; repeatable. Without this and --like, the index is "
            "brought up to date and nothing is searched.",
        ),
    ] = None
    top: Annotated[
        int, typer.Option(min=1, max=_MOST_FILMS, help="Maximum number of films per sentence.")
    ] = 20
    min_score: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="Leave out moments with a lower score."),
    ] = 0.0
    found_only: Annotated[
        bool,
        typer.Option("--found-only", help="Leave out films that do not show what is asked for."),
    ] = False


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
    request: SearchRequest,
    outputs: OutputOptions,
    options: RunOptions,
) -> int:
    """Search all films of a library and return the best moments.

    Films are ranked by presence: how clearly they show what the sentence describes. The first
    search encodes the films and writes an index beside the feature cache; later ones only look at
    what is new or has changed.
    """
    # Imported here, so that help does not load the packages of decoders and networks.
    from vtloc_runtime.cli.search_run import run_search

    return run_search(library, request, outputs, options)
