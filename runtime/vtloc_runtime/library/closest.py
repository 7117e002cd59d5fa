"""How close each film of a library comes to sentences: its closest frame, all films in one pass.

NumKong multiplies the table's half precision as it is. Without it, NumPy turns blocks of it into
single precision by moving bits, which is faster than its own conversion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from vtloc_runtime.errors import FeatureError
from vtloc_runtime.library.feature_table import SCALE
from vtloc_runtime.system.processors import available_processors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vtloc_runtime.library.catalogue import Rows

ERROR = 6e-4
"""By how much a cosine may differ from that of the features before they became half precision:
2^-11 for rounding, the rest for single precision."""

_HIGHEST = 1.3
"""No cosine is as high, not even of a row that is longer by what ordinary sentences take."""
_CHUNK = 2**15
_BLOCK = 256
"""Rows whose single precision fits into a processor's cache."""

# A half precision number has 5 bits of exponent and single precision 8, of which the upper three
# are set by the sign's shift and cleared. The exponent's offset is then 112 too small.
_SHIFT, _KEPT, _OFFSET = 13, np.int32(~0x70000000), np.float32(2.0**112)


@dataclass(frozen=True, slots=True, eq=False)
class _Chunk:
    """Ranges that follow each other in the table.

    Attributes:
        first: The first row.
        stop: The row after the last.
        places: Where each range begins, counted from ``first``.
        ranges: The numbers of the ranges, of those that were asked for.
    """

    first: int
    stop: int
    places: NDArray[np.int64]
    ranges: slice


def closest_cosines(
    table: NDArray[np.float16], ranges: Sequence[Rows], vectors: NDArray[np.floating]
) -> NDArray[np.float32]:
    """The cosine of the closest frame of each range to each vector.

    Args:
        table: ``[total, Ds]``, as `pack` makes its rows.
        ranges: Rows of the table.
        vectors: ``[S, Ds]``, of any length.

    Returns:
        ``[S, ranges]``, within `ERROR` of those of the features that were packed. A row with one
        more column counts as longer by that, and so does the error.

    Raises:
        FeatureError: The table is damaged.
    """
    asked = np.asarray(vectors, dtype=np.float32)
    lengths = np.linalg.norm(asked, axis=1, keepdims=True)
    unit = np.asarray(asked / np.where(lengths > 0, lengths, 1), dtype=np.float32)
    # Copies of a film share their rows.
    distinct = {rows.first: rows for rows in ranges}
    chunks = list(_chunks([distinct[first] for first in sorted(distinct)]))
    found = np.empty((len(unit), len(distinct)), dtype=np.float32)
    fast = find_spec("numkong") is not None
    product = (_half_precision_product if fast else _single_precision_product)(table, unit)

    def do(chunk: _Chunk) -> None:
        found[:, chunk.ranges] = np.maximum.reduceat(product(chunk), chunk.places, axis=1)

    with ThreadPoolExecutor(available_processors()) as pool:
        for _ in pool.map(do, chunks):
            pass
    if found.size and not np.abs(found).max() < _HIGHEST:
        raise FeatureError(
            "the index of the library is damaged", remedy="Delete the folder of indexes and repeat"
        )
    place = {first: number for number, first in enumerate(sorted(distinct))}
    return found[:, [place[rows.first] for rows in ranges]]


def _chunks(ranges: list[Rows]) -> Iterator[_Chunk]:
    """Cut ranges, in the order of the table, into chunks without gaps."""
    begin = 0
    while begin < len(ranges):
        first = ranges[begin].first
        stop, end = first, begin
        while end < len(ranges) and ranges[end].first == stop and stop - first < _CHUNK:
            stop += ranges[end].count
            end += 1
        places = np.array([rows.first - first for rows in ranges[begin:end]], dtype=np.int64)
        yield _Chunk(first, stop, places, slice(begin, end))
        begin = end


def _half_precision_product(
    table: NDArray[np.float16], vectors: NDArray[np.float32]
) -> Callable[[_Chunk], NDArray[np.float32]]:
    """The cosines of a chunk by NumKong, which multiplies half precision as it is."""
    import numkong

    # Half precision holds a vector to 3 digits, and what is left of it to 3 more.
    coarse = vectors.astype(np.float16)
    fine = (vectors - coarse).astype(np.float16)
    packed = numkong.dots_pack(np.concatenate([coarse, fine]))

    def product(chunk: _Chunk) -> NDArray[np.float32]:
        parts = np.asarray(numkong.dots_packed(table[chunk.first : chunk.stop], packed))
        cosines: NDArray[np.float32] = parts[:, : len(vectors)] + parts[:, len(vectors) :]
        return cosines.T / np.float32(SCALE)

    return product


def _single_precision_product(
    table: NDArray[np.float16], vectors: NDArray[np.float32]
) -> Callable[[_Chunk], NDArray[np.float32]]:
    """The cosines of a chunk by NumPy, a block in single precision after the other."""
    bits = table.view(np.int16)

    def product(chunk: _Chunk) -> NDArray[np.float32]:
        cosines = np.empty((len(vectors), chunk.stop - chunk.first), dtype=np.float32)
        buffer = np.empty((_BLOCK, bits.shape[1]), dtype=np.int32)
        for top in range(chunk.first, chunk.stop, _BLOCK):
            end = min(top + _BLOCK, chunk.stop)
            block = buffer[: end - top]
            np.copyto(block, bits[top:end])
            np.left_shift(block, _SHIFT, out=block)
            np.bitwise_and(block, _KEPT, out=block)
            single = block.view(np.float32)
            part = cosines[:, top - chunk.first : end - chunk.first]
            for row, vector in enumerate(vectors):
                # Not a product of matrices: its library starts threads of its own beside ours.
                np.einsum("td,d->t", single, vector, out=part[row])
        return cosines * (_OFFSET / np.float32(SCALE))

    return product
