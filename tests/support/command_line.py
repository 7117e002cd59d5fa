"""Commands, called as people call them."""

from __future__ import annotations

import json
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from vtloc_runtime.cli.main import main


def run(*arguments: str) -> int:
    """The exit code of ``vtloc-run``."""
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert isinstance(left.value.code, int)
    return left.value.code


def invoke(app: typer.Typer, *arguments: object) -> str:
    """What a command of another program prints; its errors are raised."""
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    if result.exception is not None:
        raise result.exception
    return result.output


def lines(text: str) -> list[dict[str, Any]]:
    """The JSON objects of some lines."""
    return [json.loads(line) for line in text.splitlines()]
