"""Recognize results by their beginning, the torn line of an interrupted write included."""

from __future__ import annotations

from vtloc_runtime.batch.results.records import is_record

BOM = b"\xef\xbb\xbf"

BEGINNING = 2**16
"""Bytes of a file that show whether vtloc wrote it."""


def holds_results(beginning: bytes) -> bool:
    """Whether a file holds results that vtloc wrote, or nothing yet.

    Args:
        beginning: The file's first ``BEGINNING`` bytes.
    """
    *complete, torn = beginning.removeprefix(BOM).split(b"\n")
    if any(is_record(line) for line in complete):
        return True
    # The first append may have been torn, or may be longer than the part that was read.
    return not any(line.strip() for line in complete) and may_begin_a_record(torn.strip(b"\0"))


def may_begin_a_record(text: bytes) -> bool:
    """Whether a line may be an incomplete record."""
    for key in (b'{"id":"', b'","video":"', b'","query":"'):
        if not text.startswith(key):
            return key.startswith(text)
        text = text[len(key) :]
        end = _end_of_string(text)
        if end < 0:
            return True
        text = text[end:]
    return True


def _end_of_string(text: bytes) -> int:
    """Where a JSON string's closing quotation mark is; -1 where there is none."""
    index = 0
    while (index := text.find(b'"', index)) >= 0:
        before = text[:index]
        if (len(before) - len(before.rstrip(b"\\"))) % 2 == 0:
            return index
        index += 1
    return -1
