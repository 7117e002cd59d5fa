"""Whether a video shows what a sentence describes, told by ordinary sentences; no training.

Frames that come close to everything say little. So a frame counts by how much closer it comes to
the sentence than to the ordinary sentences that are nearest to it, and a video by its best frame.
The same is done with every ordinary sentence: most of them the video does not show. What they
reach in this very video is the scale, so neither its length nor how still it is matters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vtloc_runtime.bundle.bundle import Bundle
    from vtloc_runtime.bundle.manifest import SharedSpace
    from vtloc_runtime.localize.absence import ReferenceFrames
    from vtloc_runtime.localize.occurrences import FloatArray
    from vtloc_runtime.localize.sentence_bank import SentenceBank

NEAREST = 5
"""Ordinary sentences that a frame is nearest to, whose mean cosine is what it comes close to."""
WEIGHT = 0.75
"""How much of that mean a frame's cosine loses."""
HIGH = 0.9
"""A margin of one is what this share of ordinary sentences stays below in the video."""

_MARK, _MARK_WEIGHT = 0.99, 0.5
_BLOCK = 1024
_NARROWEST = 1e-6
_LARGEST = 10.0


class BankPresence:
    """Compares sentences with a bank of ordinary ones.

    Args:
        bank: The ordinary sentences; at least two.
        threshold: The least margin of a video that shows a sentence; None takes every video to.
        reference: Frames of other videos, where there are some: then every sentence loses half of
            what it reaches in them.
    """

    def __init__(
        self,
        bank: SentenceBank,
        threshold: float | None = None,
        reference: ReferenceFrames | None = None,
    ) -> None:
        self._sentences = bank.sentences
        self._threshold = threshold
        self._reference = None if reference is None else reference.frames
        self._marks: NDArray[np.floating] = np.zeros(len(bank.sentences))
        self._reference_nearest: NDArray[np.floating] = np.zeros(0)
        if self._reference is not None:
            excess, self._reference_nearest = self._excess(self._reference)
            self._marks = _MARK_WEIGHT * np.quantile(excess, _MARK, axis=0)

    @classmethod
    def of(cls, bundle: Bundle) -> Self | None:
        """The bundle's own; None where it has no bank.

        Raises:
            BundleError: The bank or the reference frames are altered, or of another width.
        """
        from vtloc_runtime.localize.sentence_bank import SentenceBank

        bank, entry = SentenceBank.of(bundle), bundle.manifest.sentence_bank
        if bank is None or entry is None or len(bank.sentences) < 2:
            return None
        return cls(bank, entry.threshold)

    def in_video(self, rows: NDArray[np.floating], shared: SharedSpace) -> OrdinaryMargins:
        """What ordinary sentences reach in a video.

        Args:
            rows: ``[M, Dv]``, the features of its frames that differ.
            shared: Which of their columns lie in the sentences' space.
        """
        best = np.full(len(self._sentences), -np.inf)
        nearest = np.empty(len(rows))
        for top in range(0, len(rows), _BLOCK):
            part = slice(top, top + _BLOCK)
            excess, nearest[part] = self._excess(rows[part, shared.start : shared.stop])
            np.maximum(best, excess.max(axis=0), out=best)
        reached = best - self._marks
        middle, high = np.quantile(reached, (0.5, HIGH))
        return OrdinaryMargins(nearest, np.sort(reached), float(middle), float(high - middle))

    def mark(self, vector: NDArray[np.floating]) -> float:
        """What a sentence loses for what it reaches in the reference frames; 0 without them.

        Args:
            vector: ``[Ds]``, as the sentence's cosines are computed: of length 1, or shorter.
        """
        if self._reference is None:
            return 0.0
        excess = self._reference @ vector.astype(np.float32) - self._reference_nearest
        return _MARK_WEIGHT * float(np.quantile(excess, _MARK))

    def shows(self, margin: float) -> bool:
        """Whether a video with this margin is taken to show what the sentence describes."""
        return self._threshold is None or margin >= self._threshold

    def _excess(
        self, features: NDArray[np.floating]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """By how much frames come closer to each ordinary sentence than to the nearest others.

        Args:
            features: ``[M, Ds]``, of any length.

        Returns:
            ``[M, S]``, and what was subtracted from sentences that are not nearest, ``[M]``.
        """
        frames = np.asarray(features, dtype=np.float32)
        frames = frames / np.maximum(np.linalg.norm(frames, axis=1, keepdims=True), 1e-12)
        cosines = frames @ self._sentences.T
        count = min(NEAREST, cosines.shape[1] - 1)
        # One more than counts: a sentence is not compared with itself.
        closest = -np.partition(-cosines, count, axis=1)[:, : count + 1]
        closest.sort(axis=1)
        everyone = closest.sum(axis=1, keepdims=True)
        nearest = (everyone - closest[:, :1]) / count
        others = np.where(cosines >= closest[:, 1:2], (everyone - cosines) / count, nearest)
        return cosines - WEIGHT * others, WEIGHT * nearest[:, 0]


@dataclass(frozen=True, slots=True, eq=False)
class OrdinaryMargins:
    """What ordinary sentences reach in one video, by which others are judged there.

    Attributes:
        nearest: ``[M]``, what each frame's cosine loses.
        reached: ``[S]``, what each ordinary sentence reaches, rising.
        middle: What half of them reach.
        spread: By how much more a tenth of them reach.
    """

    nearest: FloatArray
    reached: FloatArray
    middle: float
    spread: float

    def margin(self, curve: FloatArray, mark: float = 0.0) -> float:
        """By how much a sentence stands out from ordinary ones in this video.

        Args:
            curve: ``[M]``, the cosine of each frame to it.
            mark: As `BankPresence.mark` gives it.

        Returns:
            0 where it reaches what half of the ordinary sentences do, 1 where nine in ten reach
            less; within -10 and 10.
        """
        found = float(np.max(curve - self.nearest)) - mark
        margin = (found - self.middle) / max(self.spread, _NARROWEST)
        return min(max(margin, -_LARGEST), _LARGEST)
