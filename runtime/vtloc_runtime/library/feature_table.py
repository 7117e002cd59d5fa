"""The frames of a library in one file: half precision, memory mapped, only ever appended to.

A row is a frame's feature vector in the space that frames and sentences share, of length `SCALE`.
Where presence comes from ordinary sentences, what the frame's cosine loses to them follows.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vtloc_runtime.errors import FeatureError
from vtloc_runtime.library.catalogue import Rows
from vtloc_runtime.localize.encoding.file_identity import FileState
from vtloc_runtime.system.atomic_write import sync_folder

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCALE = 256.0
"""Length of a row: long enough that hardly any number is too small for half precision."""

_MAGIC = b"vtloc frames 1\n"
_HEADER = 64
_COPIED = 2**16
"""Rows that are copied or checked at a time."""


def pack(
    features: NDArray[np.floating], nearest: NDArray[np.floating] | None = None
) -> NDArray[np.float16]:
    """Rows of the table.

    Args:
        features: ``[M, Ds]``, of any length.
        nearest: ``[M]``, what each frame's cosine to a sentence loses.

    Returns:
        ``[M, Ds]``, of length `SCALE`; zeros stay zeros. With ``nearest``, `SCALE` times that
        follows as one more column.
    """
    rows = np.asarray(features, dtype=np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled = np.asarray(rows * (SCALE / np.where(lengths > 0, lengths, 1)), dtype=np.float16)
    if nearest is None:
        return scaled
    return np.column_stack([scaled, np.asarray(SCALE * nearest, dtype=np.float16)])


def check_rows(rows: NDArray[np.float16]) -> int:
    """The CRC-32 of rows."""
    return zlib.crc32(np.ascontiguousarray(rows).view(np.uint8).data)


def new_table(folder: Path, width: int) -> str:
    """Create an empty table.

    Args:
        folder: The index.
        width: Numbers in a row.

    Returns:
        The name of its file.
    """
    name = f"frames-{secrets.token_hex(8)}"
    with (folder / name).open("xb") as file:
        file.write(_header(width))
        file.flush()
        os.fsync(file.fileno())
    sync_folder(folder)
    return name


def append(
    path: Path, total: int, blocks: Iterable[NDArray[np.float16]], *, width: int
) -> list[Rows]:
    """Append rows to a table.

    Args:
        path: The table's file.
        total: Rows that it holds; what a killed writer left behind them is cut off.
        blocks: ``[M, width]`` each.
        width: Numbers in a row.

    Returns:
        Where each block lies.
    """
    placed = []
    with path.open("r+b") as file:
        file.truncate(_HEADER + total * width * 2)
        file.seek(0, os.SEEK_END)
        for block in blocks:
            plain = np.ascontiguousarray(block)
            file.write(plain.view(np.uint8).data)
            placed.append(Rows(total, len(plain), check_rows(plain)))
            total += len(plain)
        file.flush()
        os.fsync(file.fileno())
    return placed


def map_table(path: Path, total: int, width: int) -> NDArray[np.float16]:
    """Map a table into memory, read-only.

    Args:
        path: The table's file.
        total: Rows to map.
        width: Numbers in a row.

    Returns:
        ``[total, width]``.

    Raises:
        FeatureError: It is not a table of this width, or ends too soon.
        OSError: It cannot be opened.
    """
    with path.open("rb") as file:
        if file.read(_HEADER) != _header(width):
            raise FeatureError("the file holds no frames of this width", where=path)
        if os.fstat(file.fileno()).st_size < _HEADER + total * width * 2:
            raise FeatureError("the file ends too soon", where=path)
        if not total:
            return np.empty((0, width), dtype=np.float16)
        return np.memmap(file, dtype="<f2", mode="r", offset=_HEADER, shape=(total, width))


def copy_rows(source: NDArray[np.float16], ranges: Iterable[Rows], path: Path) -> list[Rows]:
    """Copy rows into an empty table, a part at a time.

    Args:
        source: The mapped table.
        ranges: What to copy.
        path: The empty table's file.

    Returns:
        Where each range lies now.
    """
    placed, total = [], 0
    with path.open("r+b") as file:
        file.seek(0, os.SEEK_END)
        for rows in ranges:
            for top in range(rows.first, rows.first + rows.count, _COPIED):
                part = source[top : min(top + _COPIED, rows.first + rows.count)]
                file.write(np.ascontiguousarray(part).view(np.uint8).data)
            placed.append(Rows(total, rows.count, rows.check))
            total += rows.count
        file.flush()
        os.fsync(file.fileno())
    return placed


def is_whole(table: NDArray[np.float16], rows: Rows) -> bool:
    """Whether rows are those that were written."""
    check = 0
    for top in range(rows.first, rows.first + rows.count, _COPIED):
        part = table[top : min(top + _COPIED, rows.first + rows.count)]
        check = zlib.crc32(np.ascontiguousarray(part).view(np.uint8).data, check)
    return check == rows.check


def table_state(path: Path) -> FileState | None:
    """The state of a table's file; None if there is none."""
    with contextlib.suppress(OSError):
        return FileState.from_stat(path.stat())
    return None


def _header(width: int) -> bytes:
    return (_MAGIC + str(width).encode()).ljust(_HEADER, b"\0")
