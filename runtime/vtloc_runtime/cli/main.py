"""``vtloc-run``: find moments in videos, and see what this machine can run.

A plain list of videos finds moments; the first word may name another command instead. Each
command is a typer application of its own, loaded when it is asked for, so that none slows down
the start of another.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

from vtloc_runtime.errors import VtlocError

if TYPE_CHECKING:
    import typer

PROGRAM = "vtloc-run"
COMMANDS = ("encode", "doctor", "bench")
"""Words that name a command; a video of such a name is given as ``./doctor``."""

INTERNAL = 70
INTERRUPTED = 130
PIPE_CLOSED = 141
DEBUG_VARIABLE = "VTLOC_DEBUG"


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit code.

    Args:
        arguments: What follows the program's name; None reads it from the process.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    name = words.pop(0) if words and words[0] in COMMANDS else None
    application: typer.Typer = import_module(f"vtloc_runtime.cli.{name or 'find'}").app
    application(args=words, prog_name=PROGRAM if name is None else f"{PROGRAM} {name}")
    raise SystemExit(0)


def leave_with(work: Callable[[], int]) -> NoReturn:
    """Do a command's work and leave with its exit code, whatever happens on the way.

    Args:
        work: Gives the exit code; what it raises becomes one line and a code of its own.
    """
    try:
        code = work()
        sys.stdout.flush()
    except VtlocError as error:
        report_error(error)
        code = error.exit_code
    except KeyboardInterrupt:
        _say("stopped")
        code = INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has gone; Python must not complain about that at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = PIPE_CLOSED
    except Exception as error:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        _say(
            f"internal error: {type(error).__name__}: {error}. This is a fault of vtloc; "
            f"set {DEBUG_VARIABLE}=1 to see where"
        )
        code = INTERNAL
    raise SystemExit(code)


def report_error(error: VtlocError) -> None:
    """Say an error on one line of standard error."""
    _say(f"{error.kind} error: {error}")


def program_version() -> str:
    """The installed version; a checkout that is only on the path has none."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("vtloc")
    except PackageNotFoundError:
        return "not installed"


def exit_codes() -> dict[str, int]:
    """The exit code of every kind of error."""
    codes: dict[str, int] = {}
    families = [VtlocError]
    while families:
        family = families.pop()
        codes[family.kind] = family.exit_code
        families.extend(family.__subclasses__())
    return codes


def _say(text: str) -> None:
    print(f"{PROGRAM}: {' '.join(text.split())}", file=sys.stderr)  # noqa: T201 - a command line
