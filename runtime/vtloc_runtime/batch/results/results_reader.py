"""Reads a finished results file, which may have been edited, or come from somebody else."""

from __future__ import annotations

from pathlib import Path

from vtloc_runtime.batch.results.records import Record, decode_record
from vtloc_runtime.errors import OutputError
from vtloc_runtime.system.input_file import open_input

_BOM = b"\xef\xbb\xbf"


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
                records.setdefault(record.id, record)
    except (OSError, ValueError) as error:
        # ValueError: a name with a NUL in it.
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"cannot read the results: {reason}", where=path) from error
    if not records:
        raise OutputError("the file holds no results", where=path)
    return list(records.values())
