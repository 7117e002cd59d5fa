"""Answers that come as they are ready, put back into the order of their tasks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

_Answer = TypeVar("_Answer")


def in_task_order(found: Iterable[tuple[int, _Answer]]) -> Iterator[_Answer]:
    """Give answers in the order of their tasks.

    Args:
        found: Number and answer of each task, from 0, in any order. Where the work was stopped
            numbers may be missing; what comes after them is given at the end.
    """
    early: dict[int, _Answer] = {}
    wanted = 0
    for number, answer in found:
        early[number] = answer
        while wanted in early:
            yield early.pop(wanted)
            wanted += 1
    for number in sorted(early):
        yield early[number]
