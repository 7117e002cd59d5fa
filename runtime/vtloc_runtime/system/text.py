"""Text that is safe to show: file names that are not text, terminal escapes, bidi controls."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator

# Joiners shape letters and emoji, and cannot reorder or hide anything.
_HARMLESS = frozenset("\u200c\u200d")


def unicode_name(name: str) -> str:
    r"""A file name as valid Unicode: bytes that are not UTF-8 become escapes such as ``\xff``.

    Python keeps such bytes as lone surrogates, which neither JSON nor UTF-8 files can hold. Two
    names that differ stay different.

    Args:
        name: A path as Python gave it.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        try:
            return os.fsencode(name).decode("utf-8", "backslashreplace")
        except UnicodeEncodeError:
            # Surrogates that are no file name's bytes, as broken JSON brings them.
            return name.encode("utf-8", "backslashreplace").decode()
    return name


def plain(text: str) -> str:
    """Text for people: control characters, escapes and bidi controls are written out.

    A terminal obeys what it is sent, and a file name may hold any character but ``/`` and NUL.

    Args:
        text: Anything.
    """
    whole = unicode_name(text)
    if whole.isprintable():
        return whole
    return "".join(
        character if character.isprintable() or character in _HARMLESS else _escaped(character)
        for character in whole
    )


def _escaped(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def ascii_json_controls(content: str) -> str:
    """JSON in which every character that is not printable is an escape of JSON's own.

    The value stays the same; the line can be printed on a terminal, and tools that cut lines at
    U+2028 or U+0085 read it whole.

    Args:
        content: JSON without line feeds outside its strings.
    """
    if content.isprintable():
        return content
    return "".join(
        character if character.isprintable() or character in _HARMLESS else _json_escape(character)
        for character in content
    )


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def numbered_lines(text: str) -> Iterator[tuple[int, str]]:
    """Number, from 1, and content of each line.

    Lines end with LF, CR or both, unlike ``str.splitlines``, which also cuts at characters that
    JSON strings and file names may hold, such as U+2028.

    Args:
        text: The whole text.
    """
    for number, line in enumerate(io.StringIO(text, newline=None), start=1):
        yield number, line.removesuffix("\n")


def first_line(error: BaseException) -> str:
    """The first line of what another library's error says, or the error's kind.

    Args:
        error: Any exception.
    """
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)


def short_number(number: float) -> str:
    """A number with three digits, or with all digits before the point."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
