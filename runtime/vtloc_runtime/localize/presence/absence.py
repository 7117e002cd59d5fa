"""Whether a video shows what a sentence describes at all.

Some sentences come close to almost every picture and others to none, and the closest of many
frames is closer than that of few. So the cosine of a video's closest frame is compared with a mark
of the sentence's own, for a video of that length: how close the closest frame comes in half of
the videos that show something else. The mark comes from some hundred frames of other videos,
continued where a long video goes beyond them, and counts frames by how much they differ from
what was seen before: a still camera looks once, and so does a clip that comes again and again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np

from vtloc_runtime.errors import BundleError
from vtloc_runtime.localize.encoding.encoded_video import FrameFeatures

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import ArrayLike, NDArray

    from vtloc_runtime.bundle.bundle import Bundle
    from vtloc_runtime.bundle.manifest import SharedSpace

SHARE = 0.5
"""Of the videos that do not show what a sentence describes: what its mark lies above."""

TAIL = 0.1
"""The closest reference frames of a sentence, which tell how the cosines of more would go on."""

FRESH = 0.2
"""By how much a frame differs from what was seen before to be another look: as a share of how much
reference frames differ from each other. Less is the same scene, going on or seen again."""

_TENSOR, _TAIL = "frames", "tail"
_BLOCK = 128
_REMEMBERED = 1024
_LEAST = 1e-9
_LEAST_TAIL = 5
_LEAST_SENTENCES = 100
_STEEPEST = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceFrames:
    """Frames of many videos, in the space that frames and sentences share.

    Attributes:
        frames: ``[R, Ds]``, of length 1 each.
        tail: How the cosines of more frames would go on: the shape of a generalized Pareto
            distribution, as :meth:`fitted` finds it; 0 is exponential.
    """

    frames: NDArray[np.float32]
    tail: float = 0.0

    @classmethod
    def from_features(cls, features: ArrayLike) -> Self:
        """Frames of any length, brought to length 1; those without a direction are left out.

        Args:
            features: ``[R, Ds]``.
        """
        rows = np.asarray(features, dtype=np.float32)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        seen = lengths[:, 0] > 0
        return cls(rows[seen] / lengths[seen])

    def looks(self, features: FrameFeatures | NDArray[np.floating]) -> int:
        """How many different looks a video's frames amount to.

        The first frame is one, and so is each further frame that differs by `FRESH` from every
        look before (leader clustering): a shot that goes on or comes again adds none. Of a video
        with many looks only the last thousand are remembered, so that time grows with the frames
        and memory does not.

        Args:
            features: ``[T, Ds]`` of any length, in the order of the video.

        Returns:
            1 for a video that never changes, up to T.
        """
        # Frames that share features are one look, whenever they come.
        rows = features.rows if isinstance(features, FrameFeatures) else features
        seen = _Looks(rows.shape[1], alike=1 - FRESH * self._difference)
        for top in range(0, len(rows), _BLOCK):
            part = rows[top : top + _BLOCK].astype(np.float32)
            lengths = np.linalg.norm(part, axis=1, keepdims=True)
            seen.add(part[lengths[:, 0] > 0] / lengths[lengths[:, 0] > 0])
        return max(seen.count, 1)

    def mark(self, sentence: ArrayLike, *, looks: float = 1.0, share: float = SHARE) -> float:
        """The cosine that the closest frame stays below in a share of such videos.

        It is the quantile of the reference frames that so many of them stay below at once. Beyond
        the last tenth of the frames it goes on as a generalized Pareto distribution does.

        Args:
            sentence: ``[Ds]``.
            looks: How many different frames the video shows, 1 or more.
            share: 0 to 1.
        """
        vector = np.asarray(sentence, dtype=np.float32)
        length = float(np.linalg.norm(vector))
        if not length or not len(self.frames):
            return 0.0
        cosines = self.frames @ (vector / length)
        beyond = 1 - share ** (1 / looks)
        if beyond >= TAIL:
            return float(np.quantile(cosines, 1 - beyond))
        begin, excess = _excess(cosines)
        scale = float(excess.mean()) * (1 - self.tail)
        ratio = math.log(TAIL / max(beyond, _LEAST))
        return begin + scale * (math.expm1(self.tail * ratio) / self.tail if self.tail else ratio)

    def fitted(self, sentences: Iterable[ArrayLike]) -> Self:
        """The same frames, with the tail that sentences show.

        It is fitted by moments, pooled over all sentences; where frames or distinct sentences are
        too few to tell, it is exponential.

        Args:
            sentences: ``[Ds]`` each.
        """
        squares = variances = 0.0
        distinct = {
            vector.tobytes(): vector
            for vector in (np.asarray(sentence, dtype=np.float32) for sentence in sentences)
        }
        if len(distinct) < _LEAST_SENTENCES:
            return replace(self, tail=0.0)
        for vector in distinct.values():
            excess = _excess(self.frames @ (vector / max(float(np.linalg.norm(vector)), _LEAST)))[1]
            if len(excess) >= _LEAST_TAIL:
                squares += float(excess.mean()) ** 2
                variances += float(excess.var(ddof=1))
        tail = (1 - squares / variances) / 2 if variances > 0 else 0.0
        return replace(self, tail=float(np.clip(tail, -_STEEPEST, _STEEPEST)))

    @property
    def _difference(self) -> float:
        """By how much two reference frames differ: one less their cosine, on average."""
        count = len(self.frames)
        if count < 2:
            return 1.0
        centre = self.frames.mean(axis=0, dtype=np.float64)
        alike = (float(centre @ centre) * count - 1) / (count - 1)
        return max(1 - alike, _LEAST)

    def to_bytes(self) -> bytes:
        """The frames as a safetensors file, in half precision."""
        from safetensors.numpy import save

        return save(
            {
                _TENSOR: np.ascontiguousarray(self.frames, dtype=np.float16),
                _TAIL: np.array([self.tail], dtype=np.float32),
            }
        )

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read what ``to_bytes`` wrote.

        Raises:
            BundleError: The bytes hold no frames.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            tensors = load(content)
            frames = tensors[_TENSOR]
        except (SafetensorError, KeyError) as error:
            raise BundleError(f"the file holds no reference frames: {error}") from error
        if frames.ndim != 2 or not np.isfinite(frames).all():
            raise BundleError("the reference frames are not rows of finite numbers")
        tail = float(tensors.get(_TAIL, np.zeros(1)).sum())
        if not abs(tail) <= _STEEPEST:
            raise BundleError(f"the reference frames have an impossible tail, {tail:g}")
        return replace(cls.from_features(frames), tail=tail)


class _Looks:
    """The different looks of a video so far; the last of them are remembered.

    Args:
        width: Of a frame.
        alike: The cosine from which two frames are one look.
    """

    def __init__(self, width: int, *, alike: float) -> None:
        self._frames = np.zeros((_REMEMBERED, width), dtype=np.float32)
        self._alike = alike
        self.count = 0

    def add(self, part: NDArray[np.float32]) -> None:
        """Look at further frames ``[T, width]``, of length 1 each."""
        known = self._frames[: min(self.count, _REMEMBERED)]
        strange = part[(part @ known.T).max(axis=1, initial=-np.inf) < self._alike]
        within = strange @ strange.T >= self._alike
        left = np.ones(len(strange), dtype=bool)
        for index in range(len(strange)):
            if left[index]:
                self._frames[self.count % _REMEMBERED] = strange[index]
                self.count += 1
                left &= ~within[index]


def _excess(cosines: NDArray[np.float32]) -> tuple[float, NDArray[np.float32]]:
    """Where the closest tenth of the cosines begins, and by how much each of them exceeds it."""
    begin = float(np.quantile(cosines, 1 - TAIL))
    return begin, cosines[cosines >= begin] - np.float32(begin)


@dataclass(frozen=True, slots=True, eq=False)
class PresenceCheck:
    """Decides whether a video shows what a sentence describes.

    Attributes:
        reference: What tells a sentence's mark.
        share: Of the videos that do not show it, what the mark lies above.
        threshold: The least margin of a video that shows it; None takes every video to do so.
    """

    reference: ReferenceFrames
    share: float
    threshold: float | None

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> Self | None:
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

    def looks(self, features: FrameFeatures, shared: SharedSpace) -> float:
        """How many different looks a video's frames amount to.

        Args:
            features: ``[T, Dv]``, in the order of the video.
            shared: Which of their columns lie in the sentences' space.
        """
        rows = features.rows[:, shared.start : shared.stop]
        return self.reference.looks(FrameFeatures(rows, features.index))

    def margin(self, curve: ArrayLike, sentence: ArrayLike, looks: float) -> float:
        """By how much the closest frame exceeds the sentence's mark for such a video.

        Args:
            curve: ``[T]``, the cosine of each frame to the sentence.
            sentence: ``[Ds]``.
            looks: As :meth:`looks` gives them.
        """
        mark = self.reference.mark(sentence, looks=looks, share=self.share)
        return float(np.max(np.asarray(curve, dtype=np.float64))) - mark

    def shows(self, margin: float) -> bool:
        """Whether a video with this margin is taken to show what the sentence describes."""
        return self.threshold is None or margin >= self.threshold
