"""What the runtime answers with: moments, and the localizations that hold them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

    from vtloc_runtime.localize.questions.question import Question


@dataclass(frozen=True, slots=True)
class Moment:
    """A span of a video, in seconds on the video's own clock.

    Attributes:
        start: When the moment begins, seconds.
        end: When it ends, seconds; never before ``start``, never after the video's end.
        score: How sure the localizer is, 0 to 1, comparable between sentences and videos. From
            a calibrated bundle it is the probability that the moment is right (IoU of at least
            0.5 with a true one), given that the video shows what the sentence describes.
    """

    start: float
    end: float
    score: float

    def overlap(self, other: Moment) -> float:
        """Intersection over union with another moment, 0 to 1."""
        intersection = max(0.0, min(self.end, other.end) - max(self.start, other.start))
        union = max(self.end, other.end) - min(self.start, other.start)
        return intersection / union if union > 0 else float(self.start == other.start)


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """Which words of a sentence each frame has to do with, as the localizer network sees it.

    Attributes:
        words: The sentence's words as the text network reads them, in their order.
        times: ``[T]``, when each frame came on screen, seconds.
        weights: ``[words, T]`` float32, 0 to 1; the weights of a frame add up to at most 1.
    """

    words: tuple[str, ...]
    times: NDArray[np.float64]
    weights: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class SimilarityCurve:
    """How close each frame is to a sentence, in the space that frames and sentences share.

    Attributes:
        times: ``[T]``, when each frame came on screen, seconds.
        values: ``[T]`` float64, the cosines, -1 to 1.
    """

    times: NDArray[np.float64]
    values: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Localization:
    """The answer to one sentence in one video.

    Attributes:
        query: The sentence as it was asked; empty where pictures alone asked.
        moments: Best first; empty where the sentence was found to describe no moment.
        warnings: What the reader should know about this answer (a sentence cut short, say).
        presence: By how much the sentence stands out from ordinary ones in this video; comparable
            between sentences, videos and lengths, so that videos can be ranked by it. None where
            the bundle cannot tell, or pictures alone asked.
        rewrites: Further wordings of the sentence that were asked with it.
        like: Names of the pictures that were asked with.
        alignment: Words against frames, where it was asked for.
        curve: Similarity of the frames, where it was asked for; None where the bundle's encoders
            share no space.
        question: The whole question, as it was asked.
    """

    query: str
    moments: tuple[Moment, ...]
    warnings: tuple[str, ...] = field(default=())
    presence: float | None = None
    rewrites: tuple[str, ...] = ()
    like: tuple[str, ...] = ()
    alignment: Alignment | None = field(default=None, compare=False)
    curve: SimilarityCurve | None = field(default=None, compare=False)
    question: Question | None = field(default=None, compare=False, repr=False)

    @property
    def asked(self) -> str:
        """The question in one line, for people."""
        return asked_text(self.query, self.rewrites, self.like)

    @property
    def best(self) -> Moment | None:
        """The first moment, or None where there is no such moment."""
        return self.moments[0] if self.moments else None

    def to_json(self) -> dict[str, Any]:
        """The answer as plain JSON values, times in seconds; without alignment and curve."""
        values = asdict(replace(self, alignment=None, curve=None, question=None))
        del values["alignment"], values["curve"], values["question"]
        return values


def asked_text(query: str, rewrites: Iterable[str] = (), like: Iterable[str] = ()) -> str:
    """A question in one line, for people: ``a dog / a puppy, like dog.jpg``.

    Args:
        query: The sentence; may be empty.
        rewrites: Its other wordings.
        like: Names of pictures.
    """
    sentences = " / ".join((query, *rewrites))
    pictures = " and ".join(like)
    return ", ".join(part for part in (sentences, pictures and f"like {pictures}") if part)
