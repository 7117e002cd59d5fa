"""Frames against questions in the space that both share: curves of cosines, and presence."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np

from vtloc_runtime.localize.presence.bank_presence import BankPresence, likelihood
from vtloc_runtime.localize.presence.sentence_bank import SentenceBank
from vtloc_runtime.localize.spans.similarity import cosine_curves
from vtloc_runtime.networks.interface import check_finite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from vtloc_runtime.bundle.bundle import Bundle
    from vtloc_runtime.bundle.manifest import SharedSpace
    from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo
    from vtloc_runtime.localize.questions.question import EncodedQuestion
    from vtloc_runtime.localize.spans.occurrences import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """A video against one question.

    Attributes:
        curve: ``[T]``, how close each frame comes to it.
        margin: How clearly the video shows what it asks for; None where that is unknown.
        shown: Whether it is taken to show it.
        likelihood: What a score is worth, 0 to 1, by ordinary sentences; 1 where none tell.
    """

    curve: FloatArray
    margin: float | None = None
    shown: bool = True
    likelihood: float = 1.0


class Comparison:
    """Compares videos with questions; safe to call from several threads.

    Args:
        shared: The columns of features that lie in the sentences' space.
        bank: Ordinary sentences, where there are some.
        mean_weight: How much of the bank's mean a sentence of length 1 loses.
        by_bank: Tells presence by ordinary sentences; None leaves it unknown.
    """

    def __init__(
        self,
        shared: SharedSpace,
        bank: SentenceBank | None = None,
        *,
        mean_weight: float = 0.0,
        by_bank: BankPresence | None = None,
    ) -> None:
        self._shared = shared
        self.by_bank = by_bank
        self._common: NDArray[np.float64] | None = None
        if bank is not None and mean_weight:
            self._common = mean_weight * bank.mean.astype(np.float64)

    @classmethod
    def of_bundle(cls, bundle: Bundle) -> Self | None:
        """As the bundle says; None where its frames and sentences share no space.

        Raises:
            BundleError: A file that belongs to it is altered, or of another width.
        """
        shared, entry = bundle.manifest.shared_space, bundle.manifest.sentence_bank
        if shared is None:
            return None
        bank = SentenceBank.from_bundle(bundle)
        return cls(
            shared,
            bank,
            mean_weight=0.0 if entry is None else entry.mean_weight,
            by_bank=BankPresence.from_bundle(bundle, bank),
        )

    @property
    def tells_presence(self) -> bool:
        """Whether it is known that a video does not show what a sentence describes."""
        return self.by_bank is not None

    @staticmethod
    def judged(question: EncodedQuestion) -> NDArray[np.floating]:
        """The vector ``[Ds]`` whose presence is measured.

        Args:
            question: What is asked, in a sentence at least.

        Returns:
            Shorter than 1 where several wordings are averaged; each cosine to it counts so much
            less.
        """
        return _mean(question)

    def direction(self, question: EncodedQuestion) -> NDArray[np.float64]:
        """The vector ``[Ds]`` whose cosine rises and falls as a question's curve does, nearly.

        Args:
            question: What is asked.
        """
        parts = [] if question.picture is None else [question.picture]
        if question.sentences:
            common = 0.0 if self._common is None else self._common
            parts.append(_mean(question) - common)
        lengths = [max(float(np.linalg.norm(part)), 1e-12) for part in parts]
        units = [part / length for part, length in zip(parts, lengths, strict=True)]
        return np.asarray(np.mean(units, axis=0))

    def compare(self, video: EncodedVideo, questions: Sequence[EncodedQuestion]) -> list[Compared]:
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
        of_pictures = iter(curves[len(sentences) :])
        ordinary = None
        if sentences and self.by_bank is not None:
            ordinary = self.by_bank.in_video(video.rows, self._shared)
        found = []
        for question in questions:
            parts: list[FloatArray] = []
            seen = Compared(common)
            if question.picture is not None:
                # Pictures come closer to frames than any sentence does: no bank tells.
                parts.append(next(of_pictures))
            if question.sentences:
                vector, raw = next(of_sentences)
                parts.append(raw - common)
                if self.by_bank is not None and ordinary is not None:
                    margin = ordinary.margin(raw, self.by_bank.mark(vector))
                    seen = Compared(common, margin, self.by_bank.shows(margin), likelihood(margin))
            curve = _together(parts)
            found.append(replace(seen, curve=curve if video.index is None else curve[video.index]))
        return found


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
