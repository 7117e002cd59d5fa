"""One self-contained page: each video, each sentence, and the moments on a timeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vtloc_runtime.errors import MissingExtraError, OutputError
from vtloc_runtime.system.atomic_write import atomic_write
from vtloc_runtime.system.text import plain

if TYPE_CHECKING:
    from vtloc_runtime.localize.moments import Localization
    from vtloc_runtime.report.filmstrip import Thumbnail

_MARKER = b'<meta name="generator" content="vtloc">'
_TEMPLATE = Path(__file__).with_name("page.html.j2")


@dataclass(frozen=True, slots=True)
class VideoAnswers:
    """What was asked of one video, and what was found.

    Attributes:
        title: The video's name.
        duration: Its length, seconds.
        localizations: One answer a sentence.
        filmstrip: Pictures of the video, in order of time; may be empty.
        warnings: What the reader of the video had to say.
    """

    title: str
    duration: float
    localizations: tuple[Localization, ...]
    filmstrip: tuple[Thumbnail, ...] = ()
    warnings: tuple[str, ...] = ()


def write_page(path: str | Path, videos: Sequence[VideoAnswers], *, title: str = "Moments") -> Path:
    """Write the page; it needs no other file and no network.

    Args:
        path: Where the HTML file goes; its folder is made if need be.
        videos: The answers to show, in this order.
        title: The page's heading.

    Returns:
        Where the page was written.

    Raises:
        MissingExtraError: Jinja2 is not installed.
        OutputError: The page cannot be written there.
    """
    try:
        import jinja2
    except ImportError as error:
        raise MissingExtraError.of("jinja2", extra="report", purpose="The report") from error
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters |= {"clock": format_clock, "plain": plain}
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    target = Path(path)
    content = template.render(title=title, videos=videos).encode("utf-8", "backslashreplace")
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
