"""Whether a video shows what a sentence describes at all.

Some sentences come close to almost every picture and others to none, so the cosine of a video's
closest frame says little by itself. It is held against a mark of the sentence's own: what nearly
all of some thousand frames of other videos stay below. The margin between the two says more about
presence than the score of the moment that was found, which knows only its own video.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from vtloc_runtime.errors import BundleError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from vtloc_runtime.bundle.bundle import Bundle

SHARE = 0.99
"""Of the reference frames: what the mark of a sentence lies above."""

_TENSOR = "frames"


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceFrames:
    """Frames of many videos, in the space that frames and sentences share.

    Attributes:
        frames: ``[R, Ds]``, of length 1 each.
    """

    frames: NDArray[np.float32]

    @classmethod
    def of(cls, features: ArrayLike) -> Self:
        """Frames of any length, brought to length 1; those without a direction are left out.

        Args:
            features: ``[R, Ds]``.
        """
        rows = np.asarray(features, dtype=np.float32)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        seen = lengths[:, 0] > 0
        return cls(rows[seen] / lengths[seen])

    def mark(self, sentence: ArrayLike, *, share: float = SHARE) -> float:
        """The cosine that a share of the frames stays below.

        Args:
            sentence: ``[Ds]``.
            share: 0 to 1.
        """
        vector = np.asarray(sentence, dtype=np.float32)
        length = float(np.linalg.norm(vector))
        if not length or not len(self.frames):
            return 0.0
        return float(np.quantile(self.frames @ (vector / length), share))

    def to_bytes(self) -> bytes:
        """The frames as a safetensors file, in half precision."""
        from safetensors.numpy import save

        return save({_TENSOR: np.ascontiguousarray(self.frames, dtype=np.float16)})

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read what ``to_bytes`` wrote.

        Raises:
            BundleError: The bytes hold no frames.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            frames = load(content)[_TENSOR]
        except (SafetensorError, KeyError) as error:
            raise BundleError(f"the file holds no reference frames: {error}") from error
        if frames.ndim != 2 or not np.isfinite(frames).all():
            raise BundleError("the reference frames are no finite rows")
        return cls.of(frames)


@dataclass(frozen=True, slots=True, eq=False)
class PresenceCheck:
    """Decides whether a video shows what a sentence describes.

    Attributes:
        reference: What sentences are held against.
        share: Of the reference frames that a sentence's mark lies above.
        threshold: The least margin of a video that shows it.
    """

    reference: ReferenceFrames
    share: float
    threshold: float

    @classmethod
    def of(cls, bundle: Bundle) -> Self | None:
        """The bundle's own; None where it has none.

        Raises:
            BundleError: The reference frames are altered, or of another width than sentences.
        """
        test, shared = bundle.presence, bundle.manifest.shared_space
        if test is None or shared is None:
            return None
        reference = ReferenceFrames.from_bytes(bundle.read(test.file, test.sha256))
        width = shared.stop - shared.start
        if reference.frames.shape[1] != width:
            raise BundleError(
                f"reference frames of width {reference.frames.shape[1]} do not fit sentences "
                f"of width {width}",
                where=bundle.path / test.file,
            )
        return cls(reference, test.share, test.threshold)

    def margin(self, curve: ArrayLike, sentence: ArrayLike) -> float:
        """By how much the closest frame exceeds the sentence's mark.

        Args:
            curve: ``[T]``, the cosine of each frame to the sentence.
            sentence: ``[Ds]``.
        """
        return margin(curve, self.reference.mark(sentence, share=self.share))

    def shows(self, curve: ArrayLike, sentence: ArrayLike) -> bool:
        """Whether the video is taken to show what the sentence describes.

        Args:
            curve: ``[T]``, the cosine of each frame to the sentence.
            sentence: ``[Ds]``.
        """
        return self.margin(curve, sentence) >= self.threshold


def margin(curve: ArrayLike, mark: float) -> float:
    """By how much a video's closest frame exceeds a sentence's mark.

    Args:
        curve: ``[T]``, the cosine of each frame to the sentence.
        mark: As ``ReferenceFrames.mark`` gives it.
    """
    return float(np.max(np.asarray(curve, dtype=np.float64))) - mark
