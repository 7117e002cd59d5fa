"""How close a video's frames come to a sentence, in the space that both share: no training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from vtloc_runtime.bundle.manifest import SharedSpace
    from vtloc_runtime.localize.spans.occurrences import FloatArray

_BLOCK = 1024


def cosine_curve(
    features: NDArray[np.floating], sentence: NDArray[np.floating], shared: SharedSpace
) -> FloatArray:
    """The cosine of every frame to the sentence, in the space that they share.

    Args:
        features: ``[T, Dv]``.
        sentence: ``[Ds]``.
        shared: Which columns of the features lie in the sentence's space.

    Returns:
        ``[T]``, -1 to 1; 0 where a vector is all zeros.
    """
    curve: FloatArray = cosine_curves(features, [sentence], shared)[0]
    return curve


def cosine_curves(
    features: NDArray[np.floating], sentences: Sequence[NDArray[np.floating]], shared: SharedSpace
) -> FloatArray:
    """The cosine of every frame to each of several sentences.

    Args:
        features: ``[T, Dv]``.
        sentences: ``[Ds]`` each.
        shared: Which columns of the features lie in the sentences' space.

    Returns:
        ``[N, T]``, -1 to 1; 0 where a vector is all zeros.
    """
    vectors = [np.asarray(sentence, dtype=np.float64) for sentence in sentences]
    lengths = [float(np.linalg.norm(vector)) for vector in vectors]
    curves = np.empty((len(vectors), len(features)))
    # A block at a time, or a long video's features would be held twice more, as float64. Each
    # sentence by itself: multiplied together, one would change the last bits of another.
    for top in range(0, len(features), _BLOCK):
        part = slice(top, top + _BLOCK)
        frames = np.asarray(features[part, shared.start : shared.stop], dtype=np.float64)
        norms = np.linalg.norm(frames, axis=1)
        for row, (vector, length) in enumerate(zip(vectors, lengths, strict=True)):
            scale = norms * length
            curves[row, part] = frames @ vector / np.where(scale > 0, scale, 1.0)
    return curves
