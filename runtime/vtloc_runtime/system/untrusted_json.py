"""JSON from files that may be damaged or hostile: bounded, strict, and every fault one error."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import msgspec

from vtloc_runtime.system.input_file import read_input

if TYPE_CHECKING:
    from pathlib import Path

    from vtloc_runtime.errors import VtlocError

Fail = Callable[[str], "VtlocError"]
"""Makes the caller's error, with its place and remedy, from what is wrong."""

LARGEST_FILE = 64 * 2**20
"""Bytes of a file that is read where the caller names no bound."""
DEEPEST = 64
"""Most objects and arrays inside one another."""

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")

_Value = TypeVar("_Value")


def read_json(path: Path, type_: type[_Value], *, fail: Fail) -> _Value:
    """Read a JSON file as a type.

    Args:
        path: The file.
        type_: What it must hold: anything that ``msgspec.convert`` takes.
        fail: Makes the error to raise from what is wrong.

    Raises:
        VtlocError: As ``fail`` makes it: the file cannot be read, is not valid JSON, or has another
            type.
    """
    return decode_json(read_file(path, fail=fail), type_, fail=fail)


def read_file(path: Path, *, fail: Fail, limit: int = LARGEST_FILE) -> bytes:
    """The bytes of what ``open_input`` opens.

    Args:
        path: The file.
        fail: Makes the error to raise from what is wrong.
        limit: Most bytes that the file may have.

    Raises:
        VtlocError: What ``fail`` makes: the file cannot be read, is not regular, or is too large.
    """
    try:
        return read_input(path, limit=limit)
    except (OSError, ValueError) as error:
        # ValueError: a name with a NUL in it.
        raise fail(f"it cannot be read: {getattr(error, 'strerror', None) or error}") from error


def decode_json(content: bytes, type_: type[_Value], *, fail: Fail) -> _Value:
    """Decode JSON that nobody vouches for.

    Stricter than ``json.loads``: no byte order mark, no ``NaN`` or infinity, no name twice in one
    object, no half of a surrogate pair, nothing nested deeper than ``DEEPEST``.

    Args:
        content: UTF-8 text.
        type_: What it must hold: anything that ``msgspec.convert`` takes.
        fail: Makes the error to raise from what is wrong.

    Raises:
        VtlocError: As ``fail`` makes it: it is not valid JSON, or has another type.
    """
    try:
        value = _parsed(content)
    except UnicodeError as error:
        raise fail("it is not UTF-8 text") from error
    except ValueError as error:
        raise fail(f"it is not JSON: {json_fault(error)}") from error
    except (RecursionError, OverflowError, MemoryError) as error:
        raise fail(f"it is not JSON that can be read: {type(error).__name__}") from error
    return convert(value, type_, fail=fail)


def convert(value: object, type_: type[_Value], *, fail: Fail) -> _Value:
    """A decoded value as a type.

    Args:
        value: What ``decode_json`` gave for ``object`` or ``dict``.
        type_: What it must be: anything that ``msgspec.convert`` takes.
        fail: Makes the error to raise from what is wrong.

    Raises:
        VtlocError: What ``fail`` makes: it is of another type.
    """
    try:
        return msgspec.convert(value, type_)
    except (msgspec.ValidationError, OverflowError, RecursionError) as error:
        raise fail(f"it is not valid: {error}") from error


def _parsed(content: bytes) -> Any:
    if content.startswith(b"\xef\xbb\xbf"):
        raise ValueError("it begins with a byte order mark")
    text = content.decode("utf-8")
    if content.count(b"[") + content.count(b"{") > DEEPEST:
        _check_depth(content)
    value = json.loads(
        text, object_pairs_hook=unique_names, parse_constant=_refuse_constant, parse_float=_finite
    )
    if _SURROGATE.search(content):
        # Both halves of a pair make one character; one alone is text that nothing can write.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


def _check_depth(content: bytes) -> None:
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", content)):
        depth += 1 if bracket in b"[{" else -1
        if depth > DEEPEST:
            raise ValueError(f"it is nested deeper than {DEEPEST} levels")


def json_fault(error: ValueError) -> str:
    """What ``json.loads`` found wrong."""
    # Python's own message about endless numbers speaks of its settings.
    return "a number is too long" if "int_max_str_digits" in str(error) else str(error)


def unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, for ``object_pairs_hook``.

    Raises:
        ValueError: A name comes twice in it, so that readers could differ.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice[:60]!r} comes twice in one object")
    return found


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"the number {text[:20]} is too large")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")
