"""Moments as JSON lines and as a table for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vtloc_runtime.batch.results.records import encode_record
from vtloc_runtime.handover.captions import format_time
from vtloc_runtime.system.text import plain

if TYPE_CHECKING:
    from vtloc_runtime.batch.results.records import Record

_COLUMNS = (
    "id", "video", "query", "rank", "start", "end", "score", "start_time", "end_time", "presence",
    "duration", "error",
)  # fmt: skip
# With the full-width forms; https://owasp.org/www-community/attacks/CSV_Injection.
_FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20")
_HEADING = ",".join(_COLUMNS).encode() + b"\r\n"


def write_json_lines(records: Sequence[Record]) -> bytes:
    """Records as they are in a results file."""
    return b"".join(encode_record(record) for record in records)


def write_table(records: Sequence[Record]) -> bytes:
    """One row for each moment; an answer without a moment, or an error, has a row too.

    Texts that a spreadsheet would take for a formula begin with an apostrophe.
    """
    room = io.StringIO()
    rows = csv.writer(room)
    rows.writerow(_COLUMNS)
    for record in records:
        named = [_cell(record.id), _cell(record.video), _cell(record.asked)]
        facts = [
            "" if record.presence is None else record.presence,
            "" if record.duration is None else record.duration,
            "" if record.error is None else _cell(record.error.what),
        ]
        for rank, moment in enumerate(record.moments or (), start=1):
            times = [format_time(moment.start), format_time(moment.end)]
            rows.writerow([*named, rank, moment.start, moment.end, moment.score, *times, *facts])
        if not record.moments:
            rows.writerow([*named, *[""] * 6, *facts])
    return room.getvalue().encode()


def is_table(beginning: bytes) -> bool:
    """Whether a file that begins so is a table that ``write_table`` wrote."""
    return beginning.startswith(_HEADING)


def _cell(text: str) -> str:
    shown = plain(text)
    # Some programs skip blanks first.
    return f"'{shown}" if shown.lstrip().startswith(_FORMULA) else shown
