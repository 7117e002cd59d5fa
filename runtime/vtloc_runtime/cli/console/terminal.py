"""Output for people: tables of moments, lines, a summary."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from vtloc_runtime.errors import OutputError
from vtloc_runtime.system.text import plain

if TYPE_CHECKING:
    from rich.table import Table

    from vtloc_runtime.batch.results.records import Record


PROGRAM = "vtloc-run"


def print_line(text: str) -> None:
    """Print one line on standard error; ignore errors."""
    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"{plain(' '.join(text.split()))}\n")
        sys.stderr.flush()


def print_note(text: str) -> None:
    """Print one line on standard error, after the program's name."""
    print_line(f"{PROGRAM}: {text}")


def write_lines(content: bytes) -> None:
    """Write results to standard output.

    Raises:
        OutputError: It is closed, or the disk behind it is full.
        BrokenPipeError: The pipe was closed by its reader.
    """
    try:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except (OSError, ValueError, AttributeError) as error:
        raise _unwritable(error) from error


def print_records(records: Sequence[Record]) -> None:
    """Print one video's answers as a table on standard output.

    Raises:
        OutputError: It cannot be written to.
    """
    _print(moments_table(records))


def _print(table: Table) -> None:
    from rich.console import Console

    try:
        Console(file=sys.stdout, markup=False, highlight=False).print(table)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _unwritable(error) from error


def print_failures(records: Sequence[Record]) -> None:
    """Print the errors of one video on standard error, each once."""
    failures = {
        f"{record.error.kind} error: {record.error.where or record.video}: {record.error.what}"
        + (f". {record.error.remedy}" if record.error.remedy else "")
        for record in records
        if record.error is not None
    }
    for line in sorted(failures):
        print_note(line)


def moments_table(records: Sequence[Record]) -> Table:
    """One video's answers, one row per moment."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from vtloc_runtime.report.page import format_clock

    first = records[0]
    length = next((record.duration for record in records if record.duration is not None), None)
    title = plain(first.video) + ("" if length is None else f"  ({format_clock(length)})")
    table = Table(
        title=Text(title, style="bold"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False
    )
    table.add_column("query", ratio=1, overflow="fold")
    for name in ("start", "end", "score"):
        table.add_column(name, justify="right", no_wrap=True)
    for record in records:
        query = Text(plain(record.asked))
        if record.error is not None:
            reason = f"{record.error.what}. {record.error.remedy or ''}".strip()
            query.append(f"\n{plain(reason)}", style="red")
            table.add_row(query)
        elif not record.moments:
            query.append("\nno such moment", style="yellow")
            table.add_row(query)
        for warning in record.warnings:
            query.append(f"\n{plain(warning)}", style="dim")
        for rank, moment in enumerate(record.moments or ()):
            table.add_row(
                query if rank == 0 else "",
                format_clock(moment.start),
                format_clock(moment.end),
                f"{moment.score:.2f}",
            )
    return table


def print_ranking(records: Sequence[Record]) -> None:
    """Print the films that answer one sentence as a table on standard output, best first.

    Raises:
        OutputError: It cannot be written to.
    """
    _print(ranking_table(records))


def ranking_table(records: Sequence[Record]) -> Table:
    """The films that answer one sentence, one row per moment."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from vtloc_runtime.report.page import format_clock

    table = Table(
        title=Text(plain(records[0].asked), style="bold"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("film", ratio=1, overflow="fold")
    for name in ("start", "end", "score", "presence"):
        table.add_column(name, justify="right", no_wrap=True)
    for record in records:
        film = Text(plain(record.video))
        presence = "" if record.presence is None else f"{record.presence:+.3f}"
        if not record.moments:
            film.append("\nno such moment", style="yellow")
            table.add_row(film, "", "", "", presence)
        for rank, moment in enumerate(record.moments or ()):
            table.add_row(
                film if rank == 0 else "",
                format_clock(moment.start),
                format_clock(moment.end),
                f"{moment.score:.2f}",
                presence if rank == 0 else "",
            )
    return table


def _unwritable(error: Exception) -> OutputError:
    return OutputError(
        f"cannot write to standard output: {getattr(error, 'strerror', None) or error}",
        remedy="Name a file with --out",
    )


def sandbox_note() -> str:
    """The sandbox that videos were decoded in, for the summary; empty if none was used."""
    from vtloc_runtime.video.isolation.sandbox_report import sandbox_in_force

    report = sandbox_in_force()
    if report is None:
        return ""
    if report.complete:
        return "; decoded in a complete sandbox"
    return f"; decoded in a sandbox without {', '.join(report.missing)}"
