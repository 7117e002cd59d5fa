"""Damage to bytes, texts and JSON: by accident, and by somebody who knows the format."""

from __future__ import annotations

import copy
import json
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

_NUMBERS = (
    0, 1, 2, 7, 8, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000,
    0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF, 2**62, 2**63 - 1, 2**64 - 1,
)  # fmt: skip
_LONGEST = 2_000_000

NASTY_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, 10**30, 1e308, -1e308, 1e-320, 0.1, "", "x",
    "../../etc/passwd", "/etc/passwd", "..", ".", "a\0b", "x" * 300, "é\u202e", "\ud800", [], {},
    [[]], "nan", "NaN", [1, 2, 3], {"a": {"b": 1}}, "sha", "ABCDEF", "bundle.json",
    "tokenizer.json", "engines/../bundle.json", "~", "file:///etc/passwd", "//etc/passwd", "..\\x",
    "\u2028", "-",
)  # fmt: skip
_NASTY_NUMBERS = (
    b"NaN", b"Infinity", b"-Infinity", b"1e999", b"9" * 5000, b"1" + b"0" * 400, b"-0", b"0x10",
    b"1_000", b"1.", b".5", b"1e-400",
)  # fmt: skip
_NUMBER = re.compile(rb"\d+")

Path = tuple[str | int, ...]


def mutate_bytes(
    chance: Random, content: bytes, *, marks: Sequence[bytes] = (), others: Sequence[bytes] = ()
) -> bytes:
    """Damage a binary file in one to five places.

    Args:
        chance: Decides.
        content: The file.
        marks: Words of its format; numbers are written before and behind them.
        others: Files whose pieces may be put in.
    """

    def by_a_mark(chance: Random, data: bytearray) -> None:
        _write_number(chance, data, _by_a_mark(chance, data, marks))

    def splice(chance: Random, data: bytearray) -> None:
        other = chance.choice(others)
        at, begin = chance.randrange(len(data)), chance.randrange(max(1, len(other)))
        data[at : at + 3000] = other[begin : begin + 3000]

    damages = [_flip, _cut_short, _number_in_the_head, _repeat, _remove, _fill, _scatter]
    damages += [by_a_mark] * bool(marks) + [splice] * bool(others)
    data = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 5))):
        if not data:
            break
        chance.choice(damages)(chance, data)
    return bytes(data[:_LONGEST])


def _flip(chance: Random, data: bytearray) -> None:
    for _ in range(chance.choice((1, 2, 8, 50))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _cut_short(chance: Random, data: bytearray) -> None:
    del data[chance.randrange(1, len(data) + 1) :]


def _number_in_the_head(chance: Random, data: bytearray) -> None:
    _write_number(chance, data, chance.randrange(min(len(data), 2048)))


def _repeat(chance: Random, data: bytearray) -> None:
    at = chance.randrange(len(data))
    data[at:at] = data[at : at + chance.randrange(1, 2000)] * chance.choice((1, 1, 4))


def _remove(chance: Random, data: bytearray) -> None:
    at = chance.randrange(len(data))
    del data[at : at + chance.choice((1, 2, 10, 100, 2000))]


def _fill(chance: Random, data: bytearray) -> None:
    at = chance.randrange(len(data))
    end = min(len(data), at + chance.randrange(1, 400))
    data[at:end] = bytes([chance.choice((0, 255, chance.randrange(256)))]) * (end - at)


def _scatter(chance: Random, data: bytearray) -> None:
    for _ in range(20):
        data[chance.randrange(len(data))] = chance.randrange(256)


def _by_a_mark(chance: Random, data: bytearray, marks: Sequence[bytes]) -> int:
    """A place beside one of the format's words, where sizes and counts are found."""
    present = [mark for mark in marks if mark in data]
    if not present:
        return chance.randrange(min(len(data), 64))
    mark = chance.choice(present)
    found = [place.start() for place in re.finditer(re.escape(mark), data)]
    before = chance.random() < 0.6
    place = chance.choice(found)
    return max(0, place - 4) if before else place + len(mark) + 4 * chance.randrange(6)


def _write_number(chance: Random, data: bytearray, at: int) -> None:
    size = chance.choice((1, 2, 4, 8))
    number = chance.choice((*_NUMBERS, chance.getrandbits(64))) % 2 ** (8 * size)
    room = data[at : at + size]
    data[at : at + size] = number.to_bytes(size, chance.choice(("big", "little")))[: len(room)]


def mutate_json(chance: Random, value: Any) -> Any:
    """A JSON value with one to four of its parts replaced, removed, bent or wrapped."""
    changed = copy.deepcopy(value)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        path = chance.choice(list(_paths(changed)))
        kind = chance.randrange(6)
        if kind == 3 and path:
            del _parent(changed, path)[path[-1]]
        elif kind <= 3:
            changed = _replaced(changed, path, lambda _: copy.deepcopy(chance.choice(NASTY_VALUES)))
        elif kind == 4:
            changed = _replaced(changed, path, lambda part: _bent(chance, part))
        else:
            changed = _replaced(changed, path, lambda part: _wrapped(chance, part))
    return changed


def _paths(value: Any, path: Path = ()) -> Iterator[Path]:
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from _paths(value[key], (*path, key))
    elif isinstance(value, list):
        for index in range(min(len(value), 50)):
            yield from _paths(value[index], (*path, index))


def _parent(value: Any, path: Path) -> Any:
    for key in path[:-1]:
        value = value[key]
    return value


def _replaced(value: Any, path: Path, change: Callable[[Any], Any]) -> Any:
    if not path:
        return change(value)
    parent = _parent(value, path)
    parent[path[-1]] = change(parent[path[-1]])
    return value


def _bent(chance: Random, value: Any) -> Any:
    """A value of the same type that a careless reader may take."""
    options: Sequence[Any] = (value,)
    match value:
        case bool():
            options = (not value,)
        case int():
            options = (-value, value * 2, value + 1, value - 1, 10**18, float(value))
        case float():
            options = (-value, value * 1e300, 0.0, 2.0, -1.0, 1e-300)
        case str():
            options = (
                value.upper(), value + "x", value[:-1], f"../{value}", f"/{value}", value * 3,
                value + "\0", value.replace(".", "/"),
            )  # fmt: skip
        case list():
            options = (value + value, value[::-1])
        case dict():
            options = ({**value, "extra": 1},)
    return chance.choice(options)


def _wrapped(chance: Random, value: Any) -> Any:
    for _ in range(chance.choice((3, 50, 200))):
        value = [value] if chance.random() < 0.5 else {"a": value}
    return value


def dump_json(chance: Random, value: Any) -> bytes:
    """A value as JSON, its halves of surrogate pairs included."""
    text = json.dumps(value, ensure_ascii=chance.random() < 0.2)
    return text.encode("utf-8", "surrogatepass")


def mutate_text(chance: Random, content: bytes) -> bytes:
    """Damage JSON or another text in one to three places, as text."""
    data = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 3))):
        data = data or bytearray(b"{}")
        chance.choice(_TEXT_DAMAGES)(chance, data)
    return bytes(data)


def _nest(chance: Random, data: bytearray) -> None:
    at = chance.randrange(len(data))
    data[at:at] = chance.choice((b"[", b'{"a":')) * chance.choice((10, 1000, 100_000))


def _recode(chance: Random, data: bytearray) -> None:
    text = data.decode("utf-8", "replace")
    data[:] = text.encode(chance.choice(("utf-8-sig", "utf-16", "utf-32", "utf-16-le")))


def _odd_number(chance: Random, data: bytearray) -> None:
    if found := list(_NUMBER.finditer(data)):
        number = chance.choice(found)
        data[number.start() : number.end()] = chance.choice(_NASTY_NUMBERS)


def _insert(chance: Random, data: bytearray) -> None:
    at = chance.randrange(len(data))
    data[at:at] = chance.randbytes(chance.choice((1, 5, 50)))


def _name_twice(chance: Random, data: bytearray) -> None:
    data[:1] = chance.choice((b'{"schema":2,"schema":1,', b'{"schema":[],'))


def _append(chance: Random, data: bytearray) -> None:
    data += chance.choice((b"\n", b"}", b"\0", b"{}", b"//x", b"\xe2\x80\xa8", b"\r"))


_TEXT_DAMAGES = (
    _flip, _cut_short, _nest, _recode, _odd_number, _insert, _remove, _name_twice, _repeat, _append,
)  # fmt: skip


def resized(chance: Random, header: bytes) -> bytes:
    """Eight bytes that announce a header, now and then of a wrong length."""
    lengths = (0, 2**63, 2**40, 10, len(header) + 5)
    length = len(header) if chance.random() < 0.9 else chance.choice(lengths)
    return struct.pack("<Q", length)
