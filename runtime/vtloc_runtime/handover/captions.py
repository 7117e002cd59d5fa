"""Moments as captions: WebVTT and SubRip, one cue a moment."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from vtloc_runtime.system.text import plain

if TYPE_CHECKING:
    from vtloc_runtime.batch.results.records import Record

_WEBVTT = "WEBVTT - moments found by vtloc"
_SHORTEST = 0.001
# SubRip has no escapes: what would be markup or the arrow is written with characters beside it.
_SUBRIP = str.maketrans({"<": "‹", ">": "›", "{": "(", "}": ")"})
_WORD_JOINER = "\N{WORD JOINER}"


def format_time(seconds: float, separator: str = ".") -> str:
    """Seconds as ``HH:MM:SS.mmm``.

    Args:
        seconds: 0 or more.
        separator: What comes before the milliseconds.
    """
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d}{separator}{rest % 1000:03d}"


def write_webvtt(records: Sequence[Record]) -> bytes:
    """A WebVTT file; see https://www.w3.org/TR/webvtt1/."""
    cues = [
        f"{format_time(start)} --> {format_time(end)}\n{html.escape(text, quote=False)}\n"
        for start, end, text in _cues(records)
    ]
    return "\n".join([f"{_WEBVTT}\n", *cues]).encode()


def write_subrip(records: Sequence[Record]) -> bytes:
    """A SubRip file."""
    cues = [
        f"{number}\n{format_time(start, ',')} --> {format_time(end, ',')}\n"
        f"{text.translate(_SUBRIP)}\n"
        for number, (start, end, text) in enumerate(_cues(records), start=1)
    ]
    return "\n".join(cues).encode()


def is_webvtt(beginning: bytes) -> bool:
    """Whether a file that begins so was written by ``write_webvtt``."""
    return beginning.startswith(_WEBVTT.encode())


def is_subrip(beginning: bytes) -> bool:  # noqa: ARG001 - every format has such a function
    """SubRip has no place for a mark, so no file is known to be vtloc's."""
    return False


def cue_text(text: str) -> str:
    """A text as one line that is not empty: an empty line would end the cue."""
    return plain(" ".join(text.split())) or _WORD_JOINER


def _cues(records: Sequence[Record]) -> Iterator[tuple[float, float, str]]:
    found = [
        (moment.start, max(moment.end, moment.start + _SHORTEST), cue_text(record.asked))
        for record in records
        for moment in record.moments or ()
    ]
    yield from sorted(found, key=lambda cue: cue[:2])
