"""One self-contained page: each film and sentence, its moments, and a player.

The page is `page.html` with `page.css`, `page.js` and one JSON model put in. The script makes
elements and fills them with text, so nothing in the model is ever markup; the page's
Content-Security-Policy allows this one script and this one style sheet by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from vtloc_runtime.errors import OutputError
from vtloc_runtime.system.atomic_write import atomic_write
from vtloc_runtime.system.text import plain

if TYPE_CHECKING:
    from vtloc_runtime.report.model import Page

_MARKER = b'<meta name="generator" content="vtloc">'
_HERE = Path(__file__).parent
_SLOT = re.compile(r"\{\{(\w+)\}\}")


def render_page(page: Page, carried: Mapping[str, bytes] | None = None) -> bytes:
    """The page as HTML; it needs no other file and no network.

    Args:
        page: What to show.
        carried: The bytes of films that the page carries, by their ``Film.carried``.
    """
    style, script = (_part(name) for name in ("page.css", "page.js"))
    values = {
        "policy": content_policy(live=page.live is not None),
        "title": html.escape(plain(page.title)),
        "style": style,
        "script": script,
        "data": encode_model(page),
        "films": "\n".join(_carrier(name, film) for name, film in (carried or {}).items()),
    }
    # In one pass: what is put in is not searched for further slots.
    whole = _SLOT.sub(lambda slot: values[slot[1]], _part("page.html"))
    return whole.encode("utf-8")


def encode_model(model: object) -> str:
    """A model as JSON that is safe inside a script element: it can neither end nor begin one.

    Args:
        model: A `Page`, or a part of one.
    """
    text = msgspec.json.encode(_shown(msgspec.to_builtins(model))).decode()
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def write_page(path: str | Path, page: Page, carried: Mapping[str, bytes] | None = None) -> Path:
    """Write the page.

    Args:
        path: Where the HTML file goes; its folder is made if need be.
        page: What to show.
        carried: The bytes of films that the page carries, by their ``Film.carried``.

    Returns:
        Where the page was written.

    Raises:
        OutputError: The page cannot be written there.
    """
    target = Path(path)
    content = render_page(page, carried)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(target) as file:
            file.write(content)
    except OSError as error:
        raise OutputError(
            f"the report cannot be written: {error.strerror}",
            where=target,
            remedy="Name a folder that can be written to",
        ) from error
    return target


def is_page(beginning: bytes) -> bool:
    """Whether a file is a page that ``write_page`` wrote, and may be replaced by another.

    Args:
        beginning: The first bytes of the file, 1,024 or more.
    """
    return beginning.startswith(b"<!doctype html>") and _MARKER in beginning[:1024]


def format_clock(seconds: float) -> str:
    """Seconds as people read them: ``1:02:03.4`` or ``0:07.5``."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    tail = f"{rest // 10:02d}.{rest % 10}"
    return f"{hours}:{minutes:02d}:{tail}" if hours else f"{minutes}:{tail}"


def _part(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def content_policy(*, live: bool) -> str:
    """The Content-Security-Policy of a page.

    Args:
        live: Whether it may ask the server that it came from.
    """
    rules = {
        "default-src": "'none'",
        "script-src": f"'{_hash(_part('page.js'))}'",
        "style-src": f"'{_hash(_part('page.css'))}'",
        "img-src": "data:",
        # Films beside the page, opened from a disk or from a server, and those that it carries.
        "media-src": "'self' file: blob:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    if live:
        rules["connect-src"] = "'self'"
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _carrier(name: str, film: bytes) -> str:
    content = base64.b64encode(film).decode()
    return f'<script type="application/json" id="{html.escape(name)}">{content}</script>'


def _shown(value: object) -> object:
    """The same values with every text as people may see it, free of control characters."""
    if isinstance(value, str):
        return value if value.isascii() and value.isprintable() else plain(value)
    if isinstance(value, dict):
        return {name: _shown(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_shown(one) for one in value]
    return value
