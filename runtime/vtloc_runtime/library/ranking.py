"""The rule by which films are ranked, and what the index can say about it without the films.

Films are ranked by presence. The index knows each film's closest frame to within `ERROR`, and what
else presence depends on: what ordinary sentences reach in the film and take from each frame's
cosine. So it gives an upper bound of the presence that is hardly above it; a search asks films in
the order of their bounds, until none can be among the best any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vtloc_runtime.errors import BackendError
from vtloc_runtime.library.closest import ERROR
from vtloc_runtime.localize.presence import bank_presence
from vtloc_runtime.localize.presence.comparison import Comparison

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from vtloc_runtime.bundle.bundle import Bundle
    from vtloc_runtime.library.catalogue import Film
    from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo
    from vtloc_runtime.localize.questions.question import EncodedQuestion


class Ranking:
    """Ranks films for one bundle; where presence is unknown, by their closest frame.

    Args:
        bundle: The bundle.

    Raises:
        BackendError: Its frames and sentences share no space.
        BundleError: A file that sentences are compared with is damaged.
    """

    def __init__(self, bundle: Bundle) -> None:
        shared, comparison = bundle.manifest.shared_space, Comparison.of_bundle(bundle)
        if shared is None or comparison is None:
            raise BackendError(
                "searching a library needs a space that frames and sentences share",
                where=bundle.path,
                remedy="Use a bundle whose encoders share a space",
            )
        self._shared = shared
        self._comparison = comparison
        self._bank = comparison.by_bank
        self._parts: tuple[object, ...] = (shared.start, shared.stop)
        entry = bundle.manifest.sentence_bank
        if self._bank is not None and entry is not None:
            self._parts += (
                entry.sha256,
                None if entry.reference is None else entry.reference.sha256,
                entry.mean_weight,
                bank_presence.NEAREST,
                bank_presence.WEIGHT,
                bank_presence.HIGH,
            )

    @property
    def width(self) -> int:
        """Numbers of a frame in the index."""
        return self._shared.stop - self._shared.start + (self._bank is not None)

    @property
    def parts(self) -> tuple[object, ...]:
        """What an index depends on because of the rule."""
        return self._parts

    def frames(self, video: EncodedVideo) -> NDArray[np.floating]:
        """The part of a film's features that is compared with sentences, ``[M, Ds]``."""
        return video.rows[:, self._shared.start : self._shared.stop]

    def ordinary(self, video: EncodedVideo) -> bank_presence.OrdinaryMargins | None:
        """What ordinary sentences reach in a film; None where that does not matter."""
        return None if self._bank is None else self._bank.in_video(video.rows, self._shared)

    def vector(self, question: EncodedQuestion) -> NDArray[np.float64]:
        """What the rows of the index are multiplied by, ``[width]``.

        Args:
            question: What is asked.
        """
        vector = np.asarray(self._judged(question), dtype=np.float64)
        if self._bank is None:
            return vector
        # The last column is what ordinary sentences take; they tell nothing of pictures.
        return np.append(vector, -1.0 if question.sentences else 0.0)

    def bounds(
        self,
        question: EncodedQuestion,
        cosines: NDArray[np.floating],
        films: Sequence[Film],
    ) -> NDArray[np.float64]:
        """An upper bound of each film's presence, or of its closest cosine.

        Args:
            question: What is asked.
            cosines: ``[F]``, as `closest_cosines` gives them for `vector`.
            films: ``[F]``.

        Returns:
            ``[F]``.
        """
        # Cosines are of vectors of length 1.
        highest = np.asarray(cosines, dtype=np.float64) * np.linalg.norm(self.vector(question))
        if self._bank is not None and question.sentences:
            mark = self._bank.mark(self._judged(question))
            return bank_bounds(
                highest - mark,
                [film.middle for film in films],
                [film.above for film in films],
                [film.below for film in films],
            )
        return highest + ERROR

    def _judged(self, question: EncodedQuestion) -> NDArray[np.floating]:
        """The vector that films are ranked by, ``[Ds]``."""
        if self._bank is not None and question.sentences:
            return self._comparison.judged(question)
        return self._comparison.direction(question)


def bank_bounds(
    reached: NDArray[np.floating],
    middle: Sequence[float],
    above: Sequence[float],
    below: Sequence[float],
) -> NDArray[np.float64]:
    """As `Ranking.bounds`, for presence that ordinary sentences tell.

    Args:
        reached: ``[F]``, what the sentence reaches in each film, its mark subtracted.
        middle: ``[F]``, what half of the ordinary sentences reach.
        above: ``[F]``, by how much more a tenth of them reach.
        below: ``[F]``, by how much less a tenth of them reach.
    """
    # What is subtracted from a cosine is rounded too, and is at most so large.
    error = ERROR * (1 + bank_presence.WEIGHT)
    return bank_presence.margins(np.asarray(reached) + error, middle, above, below)
