"""File names made of film names and sentences: safe on every system, and unlike each other."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Mapping

from vtloc_runtime.errors import UsageError
from vtloc_runtime.system.text import plain

CLIP_TEMPLATE = "{film}-{query}-{rank}"
CLIP_FIELDS = ("film", "query", "rank", "start", "end", "score", "id")
"""What a template of clips may name."""

_UNSAFE = re.compile(r"[^\w.,+-]+")
_LONGEST = 120
_LONGEST_PART = 60
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def safe_name(text: str, *, longest: int = _LONGEST) -> str:
    """A text as part of a file name: no folders, no characters that a system refuses.

    Args:
        text: Anything.
        longest: Bytes of the result at most.
    """
    name = _UNSAFE.sub("-", plain(text)).strip("-. ")
    while len(name.encode()) > longest:
        name = name[:-1]
    name = name.strip("-. ")
    return f"_{name}" if not name or _RESERVED.fullmatch(name) else name


def unique_names(names: Iterable[str]) -> list[str]:
    """Safe names in the same order; those that would be equal are numbered."""
    taken: set[str] = set()
    result = []
    for name in names:
        base = safe_name(name)
        found, number = base, 1
        # Some file systems do not tell capitals from small letters.
        while found.casefold() in taken:
            number += 1
            found = f"{base}-{number}"
        taken.add(found.casefold())
        result.append(found)
    return result


def check_template(template: str, fields: Iterable[str]) -> None:
    """Refuse a template of names that cannot be filled.

    Raises:
        UsageError: It names another field, or is not a template.
    """
    known = list(fields)
    try:
        used = [field for _, field, _, _ in string.Formatter().parse(template) if field is not None]
    except ValueError as error:
        raise UsageError(f"the template {template!r} cannot be read: {error}") from error
    for field in used:
        if field not in known:
            raise UsageError(
                f"the template {template!r} names {{{field}}}",
                remedy="Use " + ", ".join(f"{{{name}}}" for name in known),
            )


def fill_template(template: str, values: Mapping[str, object]) -> str:
    """A file name after a template, every value made safe.

    Args:
        template: Such as ``{film}-{rank}``.
        values: By field.

    Raises:
        UsageError: The template cannot be filled.
    """
    check_template(template, values)
    safe = {name: safe_name(str(value), longest=_LONGEST_PART) for name, value in values.items()}
    try:
        return safe_name(template.format_map(safe))
    except (ValueError, AttributeError, LookupError, TypeError) as error:
        raise UsageError(f"the template {template!r} cannot be filled: {error}") from error
