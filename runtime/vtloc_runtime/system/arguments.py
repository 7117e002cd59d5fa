"""Arguments of the public API: invalid ones are refused by name."""

from __future__ import annotations

import math
import numbers
from collections.abc import Collection, Mapping

from vtloc_runtime.errors import UsageError


def check_whole(value: object, name: str, *, least: int, most: int) -> int:
    """A whole number within bounds.

    Args:
        value: What was given.
        name: The argument, for the message.
        least: The smallest that is taken.
        most: The largest that is taken.

    Raises:
        UsageError: It is not a whole number, or out of range.
    """
    if (
        isinstance(value, bool)
        or not isinstance(value, numbers.Integral)
        or not least <= int(value) <= most
    ):
        raise UsageError(
            f"{name} is {_shown(value)}; it must be a whole number from {least} to {most}"
        )
    return int(value)


def check_real(value: object, name: str, *, least: float, most: float) -> float:
    """A finite number within bounds.

    Args:
        value: What was given.
        name: The argument, for the message.
        least: The smallest that is taken.
        most: The largest that is taken.

    Raises:
        UsageError: It is not a number, not finite, or out of range.
    """
    if (
        isinstance(value, bool)
        or not isinstance(value, numbers.Real)
        or not math.isfinite(value)
        or not least <= float(value) <= most
    ):
        raise UsageError(f"{name} is {_shown(value)}; it must be from {least:g} to {most:g}")
    return float(value)


def check_text(value: object, name: str) -> str:
    """A text.

    Args:
        value: What was given.
        name: The argument, for the message.

    Raises:
        UsageError: It is something else.
    """
    if not isinstance(value, str):
        raise UsageError(f"{name} is {_shown(value)}; it must be text")
    return value


def check_texts(value: object, name: str) -> None:
    """Several texts; a single one is taken for a mistake, not for its letters.

    Args:
        value: What was given.
        name: The argument, for the message.

    Raises:
        UsageError: It is something else.
    """
    if (
        isinstance(value, str | bytes | Mapping)
        or not isinstance(value, Collection)
        or not all(isinstance(one, str) for one in value)
    ):
        raise UsageError(f"{name} is {_shown(value)}; it must be a list of texts")


def check_callable(value: object, name: str) -> None:
    """A function, or something else that can be called.

    Args:
        value: What was given.
        name: The argument, for the message.

    Raises:
        UsageError: It is something else.
    """
    if not callable(value):
        raise UsageError(f"{name} is {_shown(value)}; it must be a function")


def check_flags(**flags: object) -> None:
    """True or False each; whatever else counts as true is taken for a mistake.

    Args:
        **flags: What was given, by the argument's name.

    Raises:
        UsageError: One is something else.
    """
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise UsageError(f"{name} is {_shown(value)}; it must be True or False")


def check_kind(value: object, kind: type, name: str) -> None:
    """An object of a class.

    Args:
        value: What was given.
        kind: The class.
        name: The argument, for the message.

    Raises:
        UsageError: It is something else.
    """
    if not isinstance(value, kind):
        raise UsageError(f"{name} is {_shown(value)}; it must be a {kind.__name__}")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
