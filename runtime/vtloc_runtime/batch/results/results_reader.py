"""Reads a finished results file, which may have been edited, or come from somebody else."""

from __future__ import annotations

from pathlib import Path

from vtloc_runtime.batch.results.records import Record, decode_record
from vtloc_runtime.errors import OutputError
from vtloc_runtime.system.input_file import open_input

_BOM = b"\xef\xbb\xbf"
_LONGEST = 10.0**7
"""Seconds of a video at most; what lies beyond is damage."""


def read_results(path: str | Path) -> list[Record]:
    """The records of a file, each id once, in the file's order.

    An incomplete last line, which an interrupted run leaves, is passed over.

    Args:
        path: JSON lines as ``vtloc-run --out`` writes them; checksums may be missing.

    Raises:
        OutputError: The file cannot be read, a line is not a result, or its checksum does not
            match.
    """
    records: dict[str, Record] = {}
    try:
        with open_input(path) as file:
            for number, line in enumerate(file, start=1):
                where = f"{path}:{number}"
                content = line.removeprefix(_BOM)
                if not content.strip():
                    continue
                try:
                    record = decode_record(content, where=where)
                except OutputError:
                    if not line.endswith(b"\n"):
                        break
                    raise
                _check_times(record, where)
                records.setdefault(record.id, record)
    except (OSError, ValueError) as error:
        # ValueError: a name with a NUL in it.
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"cannot read the results: {reason}", where=path) from error
    if not records:
        raise OutputError("the file holds no results", where=path)
    return list(records.values())


def _check_times(record: Record, where: str) -> None:
    """Refuse moments that no video has."""
    for moment in record.moments or ():
        if not 0 <= moment.start <= moment.end <= _LONGEST:
            raise OutputError(
                f"a moment from {moment.start:g} to {moment.end:g} s is not possible", where=where
            )
        if not 0 <= moment.score <= 1:
            raise OutputError(f"a score of {moment.score:g} is not possible", where=where)
    if record.duration is not None and not 0 <= record.duration <= _LONGEST:
        raise OutputError(f"a video of {record.duration:g} s is not possible", where=where)
