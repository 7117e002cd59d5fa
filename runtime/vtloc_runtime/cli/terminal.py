"""What people see while and after a run: tables of moments, a progress bar, a closing line."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePath
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress
    from rich.table import Table

    from vtloc_runtime.batch.records import Record


class RunProgress:
    """A bar over the videos of a run, on standard error; silent where nobody looks at it.

    Args:
        total: Videos to do.
        shown: Whether to draw anything.
    """

    def __init__(self, total: int, *, shown: bool) -> None:
        self._progress: Progress | None = None
        if not shown:
            return
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("videos"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task("starting", total=total)

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def reached(self, video: str, seconds: float) -> None:
        """Say how far into a video the reading has come."""
        if self._progress is not None:
            from vtloc_runtime.report.page import format_clock

            text = f"{plain(PurePath(video).name)} {format_clock(seconds)}"
            self._progress.update(self._task, description=text)

    def advance(self, video: str) -> None:
        """Count a video as done."""
        if self._progress is not None:
            self._progress.update(self._task, advance=1, description=plain(PurePath(video).name))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Take the bar away while something else is printed."""
        if self._progress is not None:
            self._progress.stop()
        yield
        if self._progress is not None:
            self._progress.start()


def print_records(records: Sequence[Record]) -> None:
    """Print one video's answers as a table on standard output."""
    from rich.console import Console

    Console(file=sys.stdout, markup=False, highlight=False).print(moments_table(records))


def moments_table(records: Sequence[Record]) -> Table:
    """One video's answers, a row a moment."""
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
    table.add_column("sentence", ratio=1, overflow="fold")
    for name in ("start", "end", "score"):
        table.add_column(name, justify="right", no_wrap=True)
    for record in records:
        query = Text(plain(record.query))
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


def summary(records: Sequence[Record]) -> str:
    """One line that says how a run went."""
    videos = len({record.video for record in records})
    found = sum(bool(record.moments) for record in records)
    failed = sum(record.failed for record in records)
    absent = len(records) - found - failed
    parts = [f"{found} found"]
    parts += [f"{absent} with no such moment"] * (absent > 0)
    parts += [f"{failed} failed"] * (failed > 0)
    return (
        f"{videos} {'video' if videos == 1 else 'videos'}, "
        f"{len(records)} {'sentence' if len(records) == 1 else 'sentences'}: {', '.join(parts)}"
    )


def sandbox_note() -> str:
    """What a closing line says of the sandbox that videos were decoded in; empty where none was."""
    from vtloc_runtime.video.isolation.decoder_process import sandbox_in_force

    report = sandbox_in_force()
    if report is None:
        return ""
    if report.complete:
        return "; decoded in a complete sandbox"
    return f"; decoded in a sandbox without {', '.join(report.missing)}"


def plain(text: str) -> str:
    """Text that any terminal takes: no control characters, no halves of characters."""
    whole = text.encode("utf-8", "replace").decode()
    return "".join(character if character.isprintable() else "�" for character in whole)
