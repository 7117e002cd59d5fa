"""``vtloc-run``: find moments, encode videos, hand results over, list bundles, measure.

The first word may name a command; otherwise all words are videos. Each command is a separate typer
application that is loaded when it is used, so that no command slows down the start of another.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

from vtloc_runtime.cli.console.startup import interruptible

if TYPE_CHECKING:
    import typer

_PROGRAM = "vtloc-run"

COMMANDS = ("encode", "search", "serve", "mcp", "doctor", "bench", "bundles", "export")
"""Commands, each in the module of its name; a video so named is given as ``./doctor``."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its exit code.

    Args:
        arguments: The arguments; None takes those of the process.
    """
    # Workers keep the processors busy, and NumPy's own threads would wait for each other by
    # spinning. It reads this once, as it is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    words = list(sys.argv[1:] if arguments is None else arguments)
    with interruptible(_PROGRAM):
        from vtloc_runtime.cli.console.program import completion_variable, run_program

        if completion_variable(_PROGRAM) in os.environ:
            name = _completed_command()
        else:
            name = words.pop(0) if words and words[0] in COMMANDS else None
        application: typer.Typer = import_module(f"vtloc_runtime.cli.{name or 'find'}").app
    run_program(application, _PROGRAM if name is None else f"{_PROGRAM} {name}", words)


def _completed_command() -> str | None:
    """The command whose options a shell wants completed, taken out of what was typed."""
    for variable in ("COMP_WORDS", "_TYPER_COMPLETE_ARGS"):
        program, _, rest = os.environ.get(variable, "").partition(" ")
        name, separator, rest = rest.partition(" ")
        if separator and name in COMMANDS:
            os.environ[variable] = f"{program} {rest}"
            if variable == "COMP_WORDS":
                os.environ["COMP_CWORD"] = str(int(os.environ.get("COMP_CWORD", "2")) - 1)
            return name
    return None
