"""Moments as chapters: FFmpeg's metadata, and LosslessCut's projects."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING

from vtloc_runtime.handover.captions import cue_text
from vtloc_runtime.system.text import unicode_name

if TYPE_CHECKING:
    from vtloc_runtime.batch.results.records import Record

_FFMETADATA = ";FFMETADATA1\n; moments found by vtloc\n"
_SPECIAL = re.compile(r"([=;#\\])")
_TAG = "vtloc score"


def write_ffmetadata(records: Sequence[Record]) -> bytes:
    """Chapters as FFmpeg reads them: ``ffmpeg -i film.mp4 -i film.ffmeta -map_chapters 1 ...``.

    See https://ffmpeg.org/ffmpeg-formats.html#Metadata-2.
    """
    chapters = sorted(
        (round(moment.start * 1000), round(moment.end * 1000), cue_text(record.asked))
        for record in records
        for moment in record.moments or ()
    )
    parts = [
        f"[CHAPTER]\nTIMEBASE=1/1000\nSTART={start}\nEND={end}\ntitle={_escaped(title)}\n"
        for start, end, title in chapters
    ]
    return "".join([_FFMETADATA, *parts]).encode()


def is_ffmetadata(beginning: bytes) -> bool:
    """Whether a file that begins so was written by ``write_ffmetadata``."""
    return beginning.startswith(_FFMETADATA.encode())


def write_losslesscut(records: Sequence[Record]) -> bytes:
    """A project of LosslessCut: a segment for each moment, in order of time."""
    segments = sorted(
        (
            {
                "start": moment.start,
                "end": moment.end,
                "name": cue_text(record.asked),
                "tags": {_TAG: f"{moment.score:.4f}"},
            }
            for record in records
            for moment in record.moments or ()
        ),
        key=lambda segment: (segment["start"], segment["end"]),
    )
    project = {
        "version": 1,
        "mediaFileName": unicode_name(PurePath(records[0].video).name) if records else "",
        "cutSegments": segments,
    }
    # A project without a moment has no other mark.
    project |= {"generator": "vtloc"} if not segments else {}
    return json.dumps(project, indent=2).encode() + b"\n"


def is_losslesscut(beginning: bytes) -> bool:
    """Whether a file that begins so was written by ``write_losslesscut``."""
    mark = f'"{_TAG}"'.encode() in beginning or b'"generator": "vtloc"' in beginning
    return beginning.startswith(b'{\n  "version": 1,\n  "mediaFileName"') and mark


def _escaped(text: str) -> str:
    # FFmpeg joins a line that ends with a backslash, even an escaped one, with the next.
    return _SPECIAL.sub(r"\\\1", text) + (" " if text.endswith("\\") else "")
