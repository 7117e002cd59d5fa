"""Differences of two arrays, and tolerances for them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vtloc_runtime.networks.interface import Array


@dataclass(frozen=True, slots=True)
class Difference:
    """What separates an output from its reference.

    Attributes:
        max_abs: Largest absolute error.
        mean_abs: Mean absolute error.
        cosine: Cosine between the two, 1 where both are zero.
        relative_l2: Length of the error over the length of the reference.
        low: Smallest value of the reference.
        high: Largest.
    """

    max_abs: float
    mean_abs: float
    cosine: float
    relative_l2: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Bound:
    """How far an output may be from its reference.

    Attributes:
        relative_l2: At most this.
        cosine: At least this.
    """

    relative_l2: float
    cosine: float

    def broken_by(self, difference: Difference) -> str | None:
        """The measure that exceeds the bound, in words; None where none does."""
        if not difference.relative_l2 <= self.relative_l2:
            return f"relative L2 {difference.relative_l2:.3g} is above {self.relative_l2:g}"
        if not difference.cosine >= self.cosine:
            return f"cosine {difference.cosine:.6f} is below {self.cosine:g}"
        return None


BOUNDS = {
    "fp32": Bound(relative_l2=1e-5, cosine=0.999999),
    "fp16": Bound(relative_l2=1.4e-2, cosine=0.9999),
    "compact": Bound(relative_l2=0.15, cosine=0.99),
    "int8": Bound(relative_l2=0.25, cosine=0.97),
}
"""What each precision promises about its networks' outputs."""


def difference(output: Array, reference: Array) -> Difference:
    """Compare an output with its reference, in double precision.

    Args:
        output: Any shape, any floating dtype.
        reference: The same shape.
    """
    if output.shape != reference.shape:
        return Difference(float("inf"), float("inf"), 0.0, float("inf"), 0.0, 0.0)
    wide = output.astype(np.float64).ravel()
    true = reference.astype(np.float64).ravel()
    error = np.abs(wide - true)
    length, norm = float(np.linalg.norm(true)), float(np.linalg.norm(wide))
    apart = float(np.linalg.norm(error))
    return Difference(
        max_abs=float(error.max(initial=0.0)),
        mean_abs=float(error.mean()) if error.size else 0.0,
        cosine=_cosine(wide, true, norm, length),
        relative_l2=apart / length if length > 0 else apart,
        low=float(true.min(initial=0.0)),
        high=float(true.max(initial=0.0)),
    )


def worst(differences: Iterable[Difference]) -> Difference:
    """The worst of every measure; the mean error is averaged."""
    found = list(differences)
    return Difference(
        max_abs=max(item.max_abs for item in found),
        mean_abs=sum(item.mean_abs for item in found) / len(found),
        cosine=min(item.cosine for item in found),
        relative_l2=max(item.relative_l2 for item in found),
        low=min(item.low for item in found),
        high=max(item.high for item in found),
    )


def _cosine(
    output: NDArray[np.float64], reference: NDArray[np.float64], norm: float, length: float
) -> float:
    if norm == 0 and length == 0:
        return 1.0
    if not np.isfinite(norm) or norm == 0 or length == 0:
        return 0.0
    return float(np.dot(output / norm, reference / length))
