"""Tables of results on standard output: readable at 80 columns, and whole in a pipe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

_UNLIMITED = 10_000
_NARROWEST_NAME = 14


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table whose first column names the rows and whose others hold short values.

    On a terminal too narrow for all columns the table is printed in parts, one below the other;
    values are never cut. In a pipe it has the width that it needs.

    Args:
        title: What the table shows.
        columns: Headings, the first one of the names.
        rows: A cell a column.
    """
    from rich.console import Console

    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        console = Console(markup=False, highlight=False, width=_UNLIMITED)
    for index, part in enumerate(_parts(columns, rows, console.width)):
        names = [columns[0], *(columns[column] for column in part)]
        cells = [[row[0], *(row[column] for column in part)] for row in rows]
        if index > 0:
            console.print()
        console.print(_table(title if index == 0 else "", names, cells))


def _parts(
    columns: Sequence[str], rows: Sequence[Sequence[str]], width: int
) -> list[Sequence[int]]:
    """The columns of values, in groups that fit beside the names."""
    name = max([len(columns[0]), *(len(row[0]) for row in rows)])
    room = width - min(name, _NARROWEST_NAME)
    parts: list[list[int]] = [[]]
    used = 0
    for column in range(1, len(columns)):
        needed = 1 + max([len(columns[column]), *(len(row[column]) for row in rows)])
        if parts[-1] and used + needed > room:
            parts.append([])
            used = 0
        parts[-1].append(column)
        used += needed
    return list(parts)


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(title, style="bold") if title else None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=0,  # the box has a blank between columns
    )
    table.add_column(columns[0], overflow="fold")
    for index, column in enumerate(columns[1:], start=1):
        numeric = all(not row[index] or row[index][0] in "0123456789+-" for row in rows)
        table.add_column(column, justify="right" if numeric else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table
