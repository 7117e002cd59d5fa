"""Frames of other videos, beside which presence is judged better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from vtloc_runtime.errors import BundleError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_TENSOR = "frames"


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceFrames:
    """Frames of many videos, in the space that frames and sentences share.

    Attributes:
        frames: ``[R, Ds]``, of length 1 each.
    """

    frames: NDArray[np.float32]

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
        if frames.ndim != 2 or not len(frames) or not np.isfinite(frames).all():
            raise BundleError("the reference frames are not rows of finite numbers")
        return cls.from_features(frames)
