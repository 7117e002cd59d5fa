"""Tables of results: nothing is cut, whatever the width."""

from __future__ import annotations

import pytest
from rich.console import Console

from vtloc_runtime.system import tables
from vtloc_runtime.system.tables import _parts, print_table

COLUMNS = ["", "mIoU", *(f"R{rank}@{iou}" for rank in (1, 5) for iou in (0.1, 0.3, 0.5, 0.7))]
ROWS = [
    ["whole video", *("100.00" for _ in COLUMNS[1:])],
    ["constant window [0.30, 0.95]", *(f"{index}.25" for index in range(9))],
    ["checkpoint.safetensors", *(f"{90 + index}.75" for index in range(9))],
]
MORE = [f"mAP@{0.5 + 0.05 * step:.2f}" for step in range(10)]


def shown(width: int | None, columns: list[str], rows: list[list[str]], capsys, monkeypatch) -> str:
    if width is not None:
        monkeypatch.setattr(
            "rich.console.Console",
            lambda **options: Console(force_terminal=True, color_system=None, **options),
        )
        monkeypatch.setenv("COLUMNS", str(width))
    print_table("a title", columns, rows)
    return capsys.readouterr().out


@pytest.mark.parametrize("width", [60, 80, 132])
@pytest.mark.parametrize("more", [[], MORE])
def test_every_value_is_whole_on_a_terminal(
    width: int, more: list[str], capsys, monkeypatch
) -> None:
    rows = [[*row, *("12.34" for _ in more)] for row in ROWS]
    text = shown(width, [*COLUMNS, *more], rows, capsys, monkeypatch)
    words = text.split()
    for value in {cell for row in rows for cell in row[1:]}:
        assert words.count(value) == sum(row[1:].count(value) for row in rows), value
    for column in [*COLUMNS[1:], *more]:
        assert words.count(column) == 1
    assert "…" not in text
    assert all(len(line) <= width for line in text.splitlines())


def test_the_usual_table_fits_80_columns_in_one_part(capsys, monkeypatch) -> None:
    assert shown(80, COLUMNS, ROWS, capsys, monkeypatch).count("R5@0.7") == 1
    assert len(_parts(COLUMNS, ROWS, 80)) == 1


def test_a_pipe_gets_a_line_a_row(capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    columns = [*COLUMNS, *MORE]
    rows = [[*row, *("12.34" for _ in MORE)] for row in ROWS]
    lines = [line for line in shown(None, columns, rows, capsys, monkeypatch).splitlines() if line]
    assert [line.split()[-1] for line in lines[-3:]] == ["12.34"] * 3
    assert lines[1].split() == columns[1:]
    assert len(lines) == 3 + len(rows)


def test_words_are_left_aligned_and_numbers_right() -> None:
    table = tables._table("", ["name", "value", "state"], [["a", "1.5e-3", "ok"]])
    assert [column.justify for column in table.columns] == ["left", "right", "left"]
