"""Whether a video shows what a sentence describes at all, judged by ordinary sentences.

Frames that come close to everything say little. So a frame counts by how much closer it comes to
the sentence than to the ordinary sentences that are nearest to it, and a video by its best frame.
The same is done with every ordinary sentence: most of them the video does not show. What they
reach in this very video is the scale, so neither its length nor how still it is matters.
"""

from __future__ import annotations

import math
import threading
import weakref
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from vtloc_runtime.errors import BundleError
from vtloc_runtime.localize.presence.reference_frames import ReferenceFrames

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from vtloc_runtime.bundle.bundle import Bundle
    from vtloc_runtime.bundle.manifest import SharedSpace
    from vtloc_runtime.localize.presence.sentence_bank import SentenceBank
    from vtloc_runtime.localize.spans.occurrences import FloatArray

NEAREST = 5
"""Ordinary sentences that a frame is nearest to, whose mean cosine is what it comes close to."""
WEIGHT = 0.75
"""How much of that mean a frame's cosine loses."""
HIGH = 0.9
"""A margin of one is what this share of ordinary sentences stays below in the video; a margin of
minus one what it stays above."""

_MARK = 0.99
_BLOCK = 1024
_KEPT = 16
_EVEN, _STEEP = 1.0, 2.0
_NARROWEST = 1e-6
_LARGEST = 10.0


class BankPresence:
    """Compares sentences with a bank of ordinary ones.

    Args:
        bank: The ordinary sentences; at least two.
        threshold: The least margin of a video that shows a sentence; None takes every video to.
        reference: Frames of other videos, where there are some: every sentence, ordinary ones
            too, then loses a share of what it reaches in them.
        mark_weight: That share.
    """

    def __init__(
        self,
        bank: SentenceBank,
        threshold: float | None = None,
        reference: ReferenceFrames | None = None,
        *,
        mark_weight: float = 0.5,
    ) -> None:
        self._sentences = bank.sentences
        self._threshold = threshold
        self._mark_weight = mark_weight
        self._known: OrderedDict[int, tuple[weakref.ref[object], OrdinaryMargins]] = OrderedDict()
        self._lock = threading.Lock()
        self._reference = None if reference is None else reference.frames
        self._marks: NDArray[np.floating] = np.zeros(len(bank.sentences))
        self._reference_nearest: NDArray[np.floating] = np.zeros(0)
        if self._reference is not None:
            excess, self._reference_nearest = self._excess(self._reference)
            self._marks = mark_weight * quantiles(excess.T, _MARK)[0]

    @classmethod
    def from_bundle(cls, bundle: Bundle, bank: SentenceBank | None) -> Self | None:
        """The bundle's own; None where it has no bank.

        Args:
            bundle: The bundle.
            bank: Its bank, where it has one.

        Raises:
            BundleError: The reference frames are altered, or of another width.
        """
        entry = bundle.manifest.sentence_bank
        if bank is None or entry is None:
            return None
        reference = None
        if entry.reference is not None:
            content = bundle.read(entry.reference.file, entry.reference.sha256)
            reference = ReferenceFrames.from_bytes(content)
            if reference.frames.shape[1] != bank.sentences.shape[1]:
                raise BundleError(
                    f"reference frames of width {reference.frames.shape[1]} do not fit a sentence "
                    f"bank of width {bank.sentences.shape[1]}",
                    where=bundle.path / entry.reference.file,
                )
        # Across a gap between sentences and frames, half the mark measured best; without, all.
        return cls(bank, entry.threshold, reference, mark_weight=1 - entry.mean_weight)

    def in_video(self, rows: NDArray[np.floating], shared: SharedSpace) -> OrdinaryMargins:
        """What ordinary sentences reach in a video; remembered for the last few videos.

        Args:
            rows: ``[M, Dv]``, the features of its frames that differ.
            shared: Which of their columns lie in the sentences' space.
        """
        with self._lock:
            owner, known = self._known.get(id(rows), (None, None))
            if owner is not None and owner() is rows and known is not None:
                return known
        found = self._look_at(rows, shared)
        with self._lock:
            self._known[id(rows)] = (weakref.ref(rows), found)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return found

    def _look_at(self, rows: NDArray[np.floating], shared: SharedSpace) -> OrdinaryMargins:
        best = np.full(len(self._sentences), -np.inf)
        nearest = np.empty(len(rows))
        for top in range(0, len(rows), _BLOCK):
            part = slice(top, top + _BLOCK)
            excess, nearest[part] = self._excess(rows[part, shared.start : shared.stop])
            np.maximum(best, excess.max(axis=0), out=best)
        reached = best - self._marks
        low, middle, high = quantiles(reached, 1 - HIGH, 0.5, HIGH)
        return OrdinaryMargins(
            nearest, float(middle), above=float(high - middle), below=float(middle - low)
        )

    def mark(self, vector: NDArray[np.floating]) -> float:
        """What a sentence loses for what it reaches in the reference frames; 0 without them.

        Args:
            vector: ``[Ds]``, as the sentence's cosines are computed: of length 1, or shorter.
        """
        if self._reference is None:
            return 0.0
        excess = self._reference @ vector.astype(np.float32) - self._reference_nearest
        return self._mark_weight * float(quantiles(excess, _MARK)[0])

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
        cosines: NDArray[np.float32] = frames @ self._sentences.T
        size = cosines.shape[1]
        count = min(NEAREST, size - 1)
        # One more than counts: a sentence is not compared with itself.
        closest = np.partition(cosines, size - count - 1, axis=1)[:, size - count - 1 :]
        closest.sort(axis=1)
        everyone = closest.sum(axis=1, keepdims=True)
        nearest = WEIGHT * ((everyone - closest[:, :1]) / count)
        excess = cosines.reshape(-1)
        among = np.flatnonzero(cosines >= closest[:, 1:2])
        own = excess[among]
        others = (everyone[among // size, 0] - own) / count
        cosines -= nearest
        excess[among] = own - WEIGHT * others
        return cosines, nearest[:, 0]


def quantiles(values: NDArray[np.floating], *shares: float) -> list[NDArray[np.floating]]:
    """What these shares of the numbers on the last axis stay below.

    The same bits as NumPy's own ``quantile`` gives, which takes ten times as long for a few hundred
    numbers, and loads NumPy's masked arrays with its first call.
    """
    ordered = np.sort(values)
    last = ordered.shape[-1] - 1
    found = []
    for share in shares:
        place = share * last
        below = int(place)
        part = place - below
        low, high = ordered[..., below], ordered[..., min(below + 1, last)]
        found.append(low + (high - low) * part if part < 0.5 else high - (high - low) * (1 - part))
    return found


def margins(
    reached: ArrayLike, middle: ArrayLike, above: ArrayLike, below: ArrayLike
) -> FloatArray:
    """By how much sentences stand out from ordinary ones; it rises with what they reach.

    Args:
        reached: What they reach.
        middle: What half of the ordinary sentences reach.
        above: By how much more a tenth of them reach.
        below: By how much less a tenth of them reach.

    Returns:
        As `OrdinaryMargins.margin` says, for each.
    """
    more = np.asarray(reached, dtype=np.float64) - np.asarray(middle, dtype=np.float64)
    # The two halves are spread unlike each other, and how unlike depends on the video.
    spread = np.maximum(np.where(more >= 0, above, below), _NARROWEST)
    return np.asarray(np.clip(more / spread, -_LARGEST, _LARGEST))


def likelihood(margin: float) -> float:
    """How likely a video shows a sentence that stands out so far from ordinary ones.

    Half at a margin of one. A span's contrast times this orders answers by how often they are
    right, absent sentences included, without labels.

    Args:
        margin: As :meth:`OrdinaryMargins.margin` gives it.
    """
    return 1 / (1 + math.exp(-_STEEP * (margin - _EVEN)))


@dataclass(frozen=True, slots=True, eq=False)
class OrdinaryMargins:
    """What ordinary sentences reach in one video, by which others are judged there.

    Attributes:
        nearest: ``[M]``, what each frame's cosine loses.
        middle: What half of them reach.
        above: By how much more a tenth of them reach.
        below: By how much less a tenth of them reach.
    """

    nearest: FloatArray
    middle: float
    above: float
    below: float

    def margin(self, curve: FloatArray, mark: float = 0.0) -> float:
        """By how much a sentence stands out from ordinary ones in this video.

        Args:
            curve: ``[M]``, the cosine of each frame to it.
            mark: As `BankPresence.mark` gives it.

        Returns:
            0 where it reaches what half of the ordinary sentences do, 1 where nine in ten reach
            less, -1 where nine in ten reach more; within -10 and 10.
        """
        reached = float(np.max(curve - self.nearest)) - mark
        return float(margins(reached, self.middle, self.above, self.below))
