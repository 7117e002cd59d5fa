"""Tables of scores: every title names the split and the way of counting."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vtloc.evaluation.baselines import best_constant_window, constant_window, whole_video
from vtloc.evaluation.metrics import Scores, score
from vtloc_runtime.system import tables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vtloc.annotations.examples import Split


Style = Literal["table", "markdown", "json"]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table.

    Attributes:
        name: What was judged.
        values: Percent by column; a missing column stays empty.
    """

    name: str
    values: Mapping[str, float]

    @classmethod
    def from_scores(cls, name: str, scores: Scores) -> Row:
        """A line from scores."""
        plain = scores.to_json()
        return cls(name, {k: float(v) for k, v in plain.items() if k != "queries"})


def blind_rows(
    split: Split, *, train: Split | None, strict: bool = False, precision: bool = False
) -> list[Row]:
    """The blind baselines of a split, for the table of results.

    Args:
        split: What is judged; queries without labels are passed over.
        train: Where the best constant window is chosen; None leaves that baseline out.
        strict: As for `score`.
        precision: As for `score`.
    """
    labelled = [example for example in split.examples if example.moments]
    whole = score(
        ((example.moments, whole_video(example)) for example in labelled),
        strict=strict,
        precision=precision,
    )
    rows = [Row.from_scores("whole video", whole)]
    if train is not None:
        window = best_constant_window(train.examples)
        constant = score(
            ((example.moments, constant_window(example, window)) for example in labelled),
            strict=strict,
            precision=precision,
        )
        rows.append(
            Row.from_scores(f"constant window [{window[0]:.2f}, {window[1]:.2f}]", constant)
        )
    return rows


def title_of(split: Split, *, strict: bool) -> str:
    """What was judged and how hits were counted."""
    labelled = sum(bool(example.moments) for example in split.examples)
    return f"{split.title}, {labelled} queries, hit: IoU {'>' if strict else '>='} m"


def columns_of(rows: Sequence[Row]) -> list[str]:
    """Every column that some row has, in the order of first appearance."""
    return list(dict.fromkeys(column for row in rows for column in row.values))


def markdown_table(title: str, rows: Sequence[Row]) -> str:
    """The table for a document."""
    columns = columns_of(rows)
    lines = [
        f"**{title}**",
        "",
        "| | " + " | ".join(columns) + " |",
        "|---|" + "---:|" * len(columns),
    ]
    for row in rows:
        cells = " | ".join(_cell(row, column) for column in columns)
        lines.append(f"| {row.name} | {cells} |")
    return "\n".join(lines) + "\n"


def print_table(title: str, rows: Sequence[Row], style: Style) -> None:
    """Print a table on standard output."""
    if style == "table":
        columns = columns_of(rows)
        cells = [[row.name, *(_cell(row, column) for column in columns)] for row in rows]
        tables.print_table(title, ["", *columns], cells)
    elif style == "markdown":
        sys.stdout.write(markdown_table(title, rows))
    else:
        plain = {"title": title, "rows": [{"name": row.name, **row.values} for row in rows]}
        sys.stdout.write(json.dumps(plain, indent=2) + "\n")


def _cell(row: Row, column: str) -> str:
    return f"{row.values[column]:.2f}" if column in row.values else ""
