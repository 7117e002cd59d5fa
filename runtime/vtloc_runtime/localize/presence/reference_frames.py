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
            BundleError: The bytes hold no frames, or none that has a direction.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            frames = load(content)[_TENSOR]
        except (SafetensorError, KeyError) as error:
            raise BundleError(f"the file holds no reference frames: {error}") from error
        if frames.ndim != 2 or frames.dtype.kind != "f":
            raise BundleError("the reference frames are not rows of floating numbers")
        with np.errstate(all="ignore"):
            found = cls.from_features(frames)
        if not len(found.frames) or not have_length_one(found.frames):
            raise BundleError("the reference frames have no directions")
        return found


def have_length_one(rows: NDArray[np.float32]) -> bool:
    """Whether vectors are of length 1: those that were too long for a number are not.

    Args:
        rows: ``[R, D]``, brought to length 1.
    """
    return bool(np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-3))
