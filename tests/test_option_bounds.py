"""Every number that a command takes has a smallest and a largest value.

Python reads ``inf``, ``nan`` and ``1e300`` as numbers, and integers of any length.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import import_module
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest

from tests.test_documents import APPLICATIONS


def numbers(program: str) -> Iterator[tuple[str, Any]]:
    """The name of each option and argument that is a number, and what typer knows of it."""
    application = import_module(APPLICATIONS[program]).app
    groups = [group.typer_instance for group in application.registered_groups]
    for one in (application, *groups):
        for command in one.registered_commands:
            assert command.callback is not None
            hints = get_type_hints(command.callback, include_extras=True)
            for name in inspect.signature(command.callback).parameters:
                kind, *notes = get_args(hints[name]) if is_annotated(hints[name]) else (None,)
                if {int, float} & {kind, *get_args(kind)}:
                    yield f"{program} {command.name or ''} {name}", notes[0]


def is_annotated(hint: object) -> bool:
    return get_origin(hint) is Annotated


@pytest.mark.parametrize("program", APPLICATIONS)
def test_every_number_has_bounds(program: str) -> None:
    # A frame rate is refused with advice of its own.
    found = [(name, note) for name, note in numbers(program) if not name.endswith("fps")]
    open_ended = [name for name, note in found if None in (note.min, note.max)]
    assert not open_ended


def test_the_numbers_are_found() -> None:
    assert len([name for program in APPLICATIONS for name, _ in numbers(program)]) > 40
