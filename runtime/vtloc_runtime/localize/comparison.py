"""Frames against questions in the space that both share: curves of cosines, and presence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vtloc_runtime.localize.absence import PresenceCheck
from vtloc_runtime.localize.bank_presence import BankPresence
from vtloc_runtime.localize.sentence_bank import SentenceBank
from vtloc_runtime.localize.similarity import cosine_curves
from vtloc_runtime.networks.interface import check_finite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from vtloc_runtime.bundle.bundle import Bundle
    from vtloc_runtime.bundle.manifest import SharedSpace
    from vtloc_runtime.localize.encoded_video import EncodedVideo
    from vtloc_runtime.localize.occurrences import FloatArray
    from vtloc_runtime.localize.question import EncodedQuestion


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """A video against one question.

    Attributes:
        curve: ``[T]``, how close each frame comes to it.
        margin: How clearly the video shows what it asks for; None where that cannot be told.
        shown: Whether it is taken to show it.
    """

    curve: FloatArray
    margin: float | None = None
    shown: bool = True


class Comparison:
    """Compares videos with questions; safe to call from several threads.

    Args:
        bundle: Whose frames and sentences share a space.

    Raises:
        BundleError: A file that belongs to it is altered, or of another width.
    """

    def __init__(self, bundle: Bundle, shared: SharedSpace) -> None:
        self._shared = shared
        self._bank = BankPresence.of(bundle)
        self._frames = None if self._bank is not None else PresenceCheck.of(bundle)
        entry, bank = bundle.manifest.sentence_bank, SentenceBank.of(bundle)
        self._common: NDArray[np.float64] | None = None
        if entry is not None and bank is not None and entry.mean_weight:
            self._common = entry.mean_weight * bank.mean.astype(np.float64)

    @property
    def tells_presence(self) -> bool:
        """Whether it can be told that a video does not show what a sentence describes."""
        return self._bank is not None or self._frames is not None

    def of(self, video: EncodedVideo, questions: Sequence[EncodedQuestion]) -> list[Compared]:
        """Compare one video with some questions.

        Args:
            video: The video, encoded by the bundle's visual network.
            questions: What is asked.

        Raises:
            NetworkError: A cosine is not finite.
        """
        sentences = [_mean(one) for one in questions if one.sentences]
        pictures = [one.picture for one in questions if one.picture is not None]
        vectors = [*sentences, *pictures]
        if self._common is not None:
            vectors.append(self._common)
        curves = cosine_curves(video.rows, vectors, self._shared)
        check_finite(curves, what="cosines of frames and sentence", network="visual")
        # A sentence that is the mean of several wordings counts as their mean cosine does.
        curves *= np.array([float(np.linalg.norm(vector)) for vector in vectors])[:, None]
        common = np.zeros(len(video.rows)) if self._common is None else curves[-1]
        of_sentences = iter(zip(sentences, curves, strict=False))
        of_pictures = iter(zip(pictures, curves[len(sentences) :], strict=False))
        margins = _Margins(video, self._shared, self._bank, self._frames)
        found = []
        for question in questions:
            parts: list[FloatArray] = []
            margin = None
            if question.sentences:
                vector, raw = next(of_sentences)
                parts.append(raw - common)
                margin = margins.of_sentence(vector, raw)
            if question.picture is not None:
                vector, raw = next(of_pictures)
                parts.append(raw)
                if not question.sentences:
                    margin = margins.of_picture(vector, raw)
            curve = _together(parts)
            found.append(
                Compared(
                    curve if video.index is None else curve[video.index],
                    margin,
                    margin is None or margins.shows(margin),
                )
            )
        return found


class _Margins:
    """How clearly one video shows what questions ask for."""

    def __init__(
        self,
        video: EncodedVideo,
        shared: SharedSpace,
        bank: BankPresence | None,
        frames: PresenceCheck | None,
    ) -> None:
        self._bank, self._frames = bank, frames
        self._ordinary = None if bank is None else bank.in_video(video.rows, shared)
        self._looks = 1.0 if frames is None else frames.looks(video.table, shared)

    def of_sentence(self, vector: NDArray[np.floating], curve: FloatArray) -> float | None:
        if self._bank is not None and self._ordinary is not None:
            return self._ordinary.margin(curve, self._bank.mark(vector))
        return self.of_picture(vector, curve)

    def of_picture(self, vector: NDArray[np.floating], curve: FloatArray) -> float | None:
        # Pictures come closer to frames than any sentence does.
        return None if self._frames is None else self._frames.margin(curve, vector, self._looks)

    def shows(self, margin: float) -> bool:
        check = self._bank or self._frames
        return check is None or check.shows(margin)


def _mean(question: EncodedQuestion) -> NDArray[np.float64]:
    """The mean of a question's wordings, of length 1 each."""
    vectors = [np.asarray(one.sentence, dtype=np.float64) for one in question.sentences]
    units = [vector / max(float(np.linalg.norm(vector)), 1e-12) for vector in vectors]
    return np.asarray(np.mean(units, axis=0))


def _together(parts: Sequence[FloatArray]) -> FloatArray:
    """One curve of several that count alike, however far each of them swings."""
    if len(parts) == 1:
        return parts[0]
    spreads = [float(part.std()) for part in parts]
    return np.asarray(
        np.mean(
            [part / spread for part, spread in zip(parts, spreads, strict=True) if spread > 1e-9]
            or parts,
            axis=0,
        )
    )
