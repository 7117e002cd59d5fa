"""The rule by which films are ranked, and what the index can say about it without the films.

Films are ranked by presence, as `PresenceCheck.margin` computes it: by how much their closest frame
exceeds the sentence's mark for a film of so many looks. The index knows each film's closest frame
to within `ERROR`, and its looks. So it gives an upper bound of the presence that is hardly above
it; a search asks films in the order of their bounds, until none can be among the best any more.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from vtloc_runtime.errors import BackendError
from vtloc_runtime.library.closest import ERROR
from vtloc_runtime.localize.presence.absence import PresenceCheck

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from vtloc_runtime.bundle.bundle import Bundle
    from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo

_STEP = 1.05
"""Films whose looks differ by less than this factor share a mark."""


class Ranking:
    """Ranks films for one bundle; without a presence check, by their closest frame.

    Args:
        bundle: The bundle.

    Raises:
        BackendError: Its frames and sentences share no space.
        BundleError: Its reference frames are damaged.
    """

    def __init__(self, bundle: Bundle) -> None:
        shared = bundle.manifest.shared_space
        if shared is None:
            raise BackendError(
                "searching a library needs a space that frames and sentences share",
                where=bundle.path,
                remedy="Use a bundle whose encoders share a space",
            )
        self._shared = shared
        self._presence = PresenceCheck.of(bundle)
        self._reference = None if bundle.presence is None else bundle.presence.sha256

    @property
    def width(self) -> int:
        """Numbers of a frame that are compared with sentences."""
        return self._shared.stop - self._shared.start

    @property
    def bounds_presence(self) -> bool:
        """Whether `bounds` are of the presence; otherwise they are of the closest cosine."""
        return self._presence is not None

    @property
    def parts(self) -> tuple[object, ...]:
        """What an index depends on because of the rule."""
        return (self._shared.start, self._shared.stop, self._reference)

    def frames(self, video: EncodedVideo) -> NDArray[np.floating]:
        """The part of a film's features that is compared with sentences, ``[M, Ds]``."""
        return video.rows[:, self._shared.start : self._shared.stop]

    def looks(self, video: EncodedVideo) -> float:
        """How many different looks a film's frames amount to; 1 where that does not matter."""
        if self._presence is None:
            return 1.0
        return float(self._presence.looks(video.table, self._shared))

    def bounds(
        self,
        sentence: NDArray[np.floating],
        cosines: NDArray[np.floating],
        looks: Sequence[float],
    ) -> NDArray[np.float64]:
        """An upper bound of each film's presence, or of its closest cosine.

        Args:
            sentence: ``[Ds]``.
            cosines: ``[F]``, the cosine of each film's closest frame, to within `ERROR`.
            looks: ``[F]``, as `looks` gives them.

        Returns:
            ``[F]``.
        """
        return presence_bounds(self._presence, sentence, cosines, looks)


def presence_bounds(
    presence: PresenceCheck | None,
    sentence: NDArray[np.floating],
    cosines: NDArray[np.floating],
    looks: Sequence[float],
) -> NDArray[np.float64]:
    """As `Ranking.bounds`, for a presence check.

    Args:
        presence: The bundle's presence check; None where it has none.
        sentence: ``[Ds]``.
        cosines: ``[F]``.
        looks: ``[F]``.
    """
    bounds = np.asarray(cosines, dtype=np.float64) + ERROR
    if presence is None:
        return bounds
    # The mark grows with looks, so that of fewer looks keeps it a bound.
    values = np.maximum(np.asarray(looks, dtype=np.float64), 1.0)
    steps, film = np.unique(np.floor(np.log(values) / math.log(_STEP)), return_inverse=True)
    fewer = np.maximum(_STEP ** (steps - 1e-9), 1.0)
    at_zero = [presence.margin([0.0], sentence, float(one)) for one in fewer]
    return np.asarray(bounds + np.array(at_zero)[film])
