"""The rule by which films are ranked, and what the index can say about it without the films.

Films are ranked by presence: by how much their closest frame exceeds the sentence's mark for a film
of so many looks, as `PresenceCheck.margin` computes it. The index knows each film's closest frame
to within `ERROR` and its looks, so it gives an upper bound of the presence that is hardly above it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vtloc_runtime.library.closest import ERROR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from vtloc_runtime.localize.absence import PresenceCheck

RULE = 1
"""Number of the rule; indexes with what another rule needs are made again."""

_DIGITS = 3
"""Digits of looks that count for a bound, so that films of like looks share a mark."""


def presence_bounds(
    presence: PresenceCheck | None,
    sentence: NDArray[np.floating],
    cosines: NDArray[np.floating],
    looks: Sequence[float],
) -> NDArray[np.float64]:
    """An upper bound of each film's presence.

    Args:
        presence: The bundle's presence check; without one, films are ranked by their closest frame.
        sentence: ``[Ds]``.
        cosines: ``[F]``, the cosine of each film's closest frame.
        looks: ``[F]``, how many different looks each film amounts to.

    Returns:
        ``[F]``.
    """
    bounds = np.asarray(cosines, dtype=np.float64) + ERROR
    if presence is None:
        return bounds
    # The mark grows with looks, so that of fewer looks keeps it a bound.
    values = np.maximum(np.asarray(looks, dtype=np.float64), 1.0)
    steps = 10.0 ** (np.floor(np.log10(values)) - (_DIGITS - 1))
    coarse, film = np.unique(np.floor(values / steps) * steps, return_inverse=True)
    at_zero = [presence.margin([0.0], sentence, max(float(one), 1.0)) for one in coarse]
    return np.asarray(bounds + np.array(at_zero)[film])
