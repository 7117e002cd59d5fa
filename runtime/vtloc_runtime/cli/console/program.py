"""The start and end of every program of vtloc: arguments, errors, exit code.

All four programs run their typer application through `run_program`, so that an error, a signal or
a closed pipe looks the same everywhere: one line on standard error and an exit code.
"""

from __future__ import annotations

import atexit
import errno
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Annotated, Any, NoReturn, TextIO

import typer

from vtloc_runtime import __version__
from vtloc_runtime.cli.console.exit_codes import INTERNAL_ERROR, INTERRUPTED, PIPE_CLOSED
from vtloc_runtime.cli.console.interrupts import Stopped
from vtloc_runtime.cli.console.terminal import print_line
from vtloc_runtime.errors import MissingExtraError, OutputError, UsageError, VtlocError

DEBUG_VARIABLE = "VTLOC_DEBUG"

# Typer carries its own click in some versions and imports it in others; this is either one's.
_ClickError: Any = typer.BadParameter.__mro__[2]

_FAILED_WRITES = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF, errno.EROFS,
}  # fmt: skip

_FIRST_PARTY = ("vtloc", "vtloc_runtime", "vtloc_export", "vtloc_calibration")


def new_application(**options: Any) -> typer.Typer:
    """A typer application with the settings of all programs.

    Args:
        **options: Other options of `typer.Typer`.
    """
    # Plain help wraps at the terminal's width; boxes break sentences in the middle.
    return typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, **options)


def _print_version(context: typer.Context, wanted: bool) -> None:
    if wanted:
        typer.echo(f"{context.find_root().info_name} {__version__}")
        raise typer.Exit


VersionOption = Annotated[
    bool,
    typer.Option(
        "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
    ),
]


def run_program(
    application: typer.Typer,
    program: str,
    arguments: Sequence[str] | None = None,
    *,
    extra: str = "cpu",
    stopped: str = "stopped",
) -> NoReturn:
    """Run a typer application and leave with its exit code.

    Args:
        application: The program, or one command of it.
        program: Its name, for help and messages.
        arguments: The arguments; None takes those of the process. An empty list shows help.
        extra: The extra that installs the packages that the program imports.
        stopped: The message after Ctrl-C.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    variable = completion_variable(program)
    if variable in os.environ:
        application(args=words, prog_name=program.split(maxsplit=1)[0], complete_var=variable)
    leave_with(
        lambda: _run(application, program, words),
        program=program,
        extra=extra,
        stopped=stopped,
    )


def leave_with(
    work: Callable[[], int],
    *,
    program: str = "vtloc-run",
    extra: str = "cpu",
    stopped: str = "stopped",
) -> NoReturn:
    """Do a program's work and exit with its exit code; errors become one line.

    Args:
        work: Returns the exit code; an error becomes one line and the error's exit code.
        program: The program's name, which starts the line.
        extra: The extra that installs the packages that the program imports.
        stopped: The message after Ctrl-C.
    """
    try:
        with _standard_streams(), _ending_signals():
            code = work()
            if sys.stdout is not None:
                sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - a program's last line of defence
        code = _explain(error, program, extra, stopped)
        _settle(sys.stdout)
    _settle(sys.stderr)
    # Else the interpreter looks through all that was ever loaded once more, only to end.
    atexit.register(gc.freeze)
    raise SystemExit(code)


def completion_variable(program: str) -> str:
    """The environment variable through which a shell asks a program for completions."""
    return f"_{program.split(maxsplit=1)[0].replace('-', '_')}_COMPLETE".upper()


def report_error(error: VtlocError, program: str = "vtloc-run") -> None:
    """Print an error as one line on standard error."""
    _print(program, f"{error.kind} error: {error}")


def _run(application: typer.Typer, program: str, words: list[str]) -> int:
    command: Any = typer.main.get_command(application)
    commands = getattr(command, "commands", None)
    if not words and (commands or any(parameter.required for parameter in command.params)):
        # Not success: a script that forgot its arguments must notice.
        _invoke(command, program, ["--help"])
        return UsageError.exit_code
    if commands is not None and not words[0].startswith("-") and words[0] not in commands:
        raise UsageError(
            f"unknown command {words[0]!r}",
            remedy=f"Commands are {', '.join(commands)}. To find moments in videos, use vtloc-run "
            'VIDEO -q "SENTENCE"',
        )
    return _invoke(command, program, words)


def _invoke(command: Any, program: str, words: list[str]) -> int:
    try:
        # What `command.main` does, less its own handling of errors, signals and closed pipes.
        with command.make_context(program, words) as context:
            result = command.invoke(context)
    except typer.Exit as leaving:
        return int(leaving.exit_code)
    return result if isinstance(result, int) else 0


def _explain(error: BaseException, program: str, extra: str, stopped: str) -> int:
    """Print what ended the program, and give its exit code."""
    if isinstance(error, BrokenPipeError):
        _silence(sys.stdout)
        return PIPE_CLOSED
    interruption = _interruption(error)
    if interruption is not None or isinstance(error, typer.Abort):
        _print(program, stopped)
        return interruption.exit_code if isinstance(interruption, Stopped) else INTERRUPTED
    known = _as_vtloc_error(error, program, extra)
    if known is not None:
        report_error(known, program)
        return known.exit_code
    if os.environ.get(DEBUG_VARIABLE):
        raise error
    _print(
        program,
        f"internal error: {type(error).__name__}: {error}. This is a bug in vtloc; "
        f"set {DEBUG_VARIABLE}=1 to see where",
    )
    return INTERNAL_ERROR


def _interruption(error: BaseException | None) -> KeyboardInterrupt | None:
    """The signal behind an error, or None.

    A package that is interrupted while it is imported raises an error of its own, as if it were
    not installed.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, KeyboardInterrupt):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def _as_vtloc_error(error: BaseException, program: str, extra: str) -> VtlocError | None:
    """Our own error for another library's error, or None."""
    if isinstance(error, VtlocError):
        return error
    if isinstance(error, _ClickError):
        context = getattr(error, "ctx", None)
        command = program if context is None else context.command_path
        # Its guesses at a misspelled option are left out: most of them are wrong.
        message = error.message if hasattr(error, "possibilities") else error.format_message()
        return UsageError(str(message).rstrip("."), remedy=f"See {command} --help")
    if isinstance(error, ImportError):
        package = (error.name or "").partition(".")[0]
        if package and package not in _FIRST_PARTY:
            return MissingExtraError.for_package(package, extra=extra, purpose=program, cause=error)
    if isinstance(error, OSError) and error.filename is None and error.errno in _FAILED_WRITES:
        _silence(sys.stdout)
        return OutputError(f"cannot write the output: {error.strerror}")
    return None


@contextmanager
def _standard_streams() -> Iterator[None]:
    """Give every standard stream a descriptor and a way to write any text.

    A program that starts with a closed stream would open its next file under that number, and
    whatever is printed would end up in it.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is not None:
            continue
        # A closed standard output refuses what is written to it; closed errors go nowhere.
        access = os.O_WRONLY if name == "stderr" else os.O_RDONLY
        with suppress(OSError):
            opened = os.open(os.devnull, access)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None and sys.stdout.errors == "strict":
        reconfigure(errors="backslashreplace")
    yield


@contextmanager
def _ending_signals() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into exceptions, so that files are closed and children ended."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _frame: FrameType | None) -> None:
        raise Stopped(number)

    numbers = [
        number
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is signal.SIG_DFL
    ]
    for number in numbers:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def _settle(stream: TextIO | None) -> None:
    """Write what waits in a stream, or drop it where it takes nothing."""
    try:
        if stream is not None:
            stream.flush()
    except (OSError, ValueError):
        _silence(stream)


def _silence(stream: TextIO | None) -> None:
    """Keep Python from complaining at exit, by code 120 too, about what it could not write."""
    with suppress(OSError, ValueError, AttributeError):
        if stream is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _print(program: str, text: str) -> None:
    print_line(f"{program.split(maxsplit=1)[0]}: {text}")
