"""What is fuzzed: something that makes inputs from a number, and gives them to vtloc."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import ClassVar

from vtloc_runtime.errors import VtlocError


@dataclass(frozen=True, slots=True)
class Input:
    """One file, or what passes for one.

    Attributes:
        content: Its bytes.
        suffix: The end of its name, which may say how it is to be read.
    """

    content: bytes
    suffix: str = ".bin"

    @property
    def options(self) -> Random:
        """Decides how the input is read: the same each time that it is."""
        return Random(zlib.crc32(self.content))


class Target(ABC):
    """A part of vtloc that takes files from elsewhere; lives in a worker process.

    Args:
        folder: For its files; empty at first.
    """

    name: ClassVar[str]
    count: ClassVar[int]
    """Inputs that one run of the tests tries."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def good(self) -> Sequence[Input]:
        """Inputs that are as they should be; the first sets the mark for memory."""

    def known(self) -> Mapping[str, Input]:
        """Inputs that once broke something, or that somebody would try, by what is wrong."""
        return {}

    @abstractmethod
    def make(self, chance: Random) -> Input:
        """An input that may be damaged in any way."""

    @abstractmethod
    def run(self, given: Input) -> None:
        """Have vtloc read an input.

        Raises:
            VtlocError: It is refused, which is right.
            AssertionError: It is taken, and what came of it cannot be.
        """

    def processes(self) -> Sequence[int]:
        """Processes that work for this one, to be measured with it."""
        return ()

    def close(self) -> None:  # noqa: B027 - most have nothing open
        """Give back what is open."""


def attempt(*acts: Callable[[], object]) -> None:
    """Do several things with one input; it is refused where each of them refuses it.

    Raises:
        VtlocError: The last of their errors.
    """
    refusals = []
    for act in acts:
        try:
            act()
        except VtlocError as error:
            refusals.append(error)
    if len(refusals) == len(acts):
        raise refusals[-1]
