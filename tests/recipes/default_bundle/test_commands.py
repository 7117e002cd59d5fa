"""The recipe's two commands begin and end as vtloc's programs do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from recipes.default_bundle import calibrate, command


@pytest.mark.parametrize(
    ("main", "arguments", "code", "message"),
    [
        (command.main, ["--recipe", "MISSING"], 10, "MISSING"),
        (command.main, ["--sed", "1"], 2, "--sed"),
        (calibrate.main, ["MISSING"], 5, "there is no such bundle"),
        (calibrate.main, ["MISSING", "--labels", "a.jsonl"], 2, "--labels and --videos"),
    ],
)
def test_an_error_is_one_line_and_its_exit_code(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    *,
    main: Callable[[list[str]], None],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    missing = str(tmp_path / "MISSING")
    with pytest.raises(SystemExit) as left:
        main([missing if word == "MISSING" else word for word in arguments])
    shown = capsys.readouterr().err
    assert (left.value.code, shown.count("\n")) == (code, 1), shown
    assert message in shown
