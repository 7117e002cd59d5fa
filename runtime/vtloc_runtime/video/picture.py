"""A decoded picture to the small RGB square that the visual network takes."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, cast

import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

if TYPE_CHECKING:
    from collections.abc import Mapping

    import av
    from av.buffer import Buffer
    from numpy.typing import NDArray

    from vtloc_runtime.manifest import Preprocessing
    from vtloc_runtime.video.frame import Image

_KERNELS = {"bicubic": Interpolation.BICUBIC, "bilinear": Interpolation.BILINEAR}
_EXACTNESS = (
    Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
)
_UNSPECIFIED = 2
_HIGH_DEFINITION_LINES = 720


@dataclass(frozen=True, slots=True)
class Orientation:
    """How a stored picture is turned to be shown: transposed first, then flipped.

    Attributes:
        transpose: Rows become columns.
        flip_rows: The last row comes first.
        flip_columns: The last column comes first.
    """

    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    @classmethod
    def of(cls, frame: av.VideoFrame) -> Orientation:
        """The nearest quarter turn or flip of the frame's display matrix."""
        side_data = cast("Mapping[str, Buffer]", frame.side_data).get("DISPLAYMATRIX")
        if side_data is None:
            return cls()
        matrix = np.frombuffer(side_data, dtype=np.int32)
        if matrix.size < 5:
            return cls()
        # A point (x, y) is shown at (a x + c y, b x + d y); y points down.
        a, b, c, d = (int(matrix[index]) for index in (0, 1, 3, 4))
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return cls(False, d < 0, a < 0)
        return cls(True, b < 0, c < 0)

    def apply(self, image: NDArray[np.generic]) -> NDArray[np.generic]:
        """The picture as it is shown; a view, not a copy."""
        if self.transpose:
            image = image.swapaxes(0, 1)
        rows = slice(None, None, -1) if self.flip_rows else slice(None)
        columns = slice(None, None, -1) if self.flip_columns else slice(None)
        return image[rows, columns]


class PictureScaler:
    """Turns decoded pictures into frames; one for each decoding thread."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        self._size = preprocessing.size
        self._squash = preprocessing.resize == "squash"
        self._flags = _KERNELS[preprocessing.interpolation] | _EXACTNESS
        self._reformatter = VideoReformatter()

    def scale(self, frame: av.VideoFrame, aspect: Fraction) -> Image:
        """Scale, turn and crop.

        Args:
            frame: The decoded picture.
            aspect: Width of one pixel over its height.

        Returns:
            ``uint8 [S, S, 3]``, RGB, contiguous.
        """
        width, height = self._scaled_size(frame.width, frame.height, aspect)
        small = self._reformatter.reformat(
            frame,
            width=width,
            height=height,
            format="rgb24",
            interpolation=self._flags,
            src_colorspace=_colour_matrix(frame),
            dst_color_range=ColorRange.JPEG,
            threads=1,
        )
        shown = Orientation.of(frame).apply(small.to_ndarray())
        return np.ascontiguousarray(self._crop(shown), dtype=np.uint8)

    def _scaled_size(self, width: int, height: int, aspect: Fraction) -> tuple[int, int]:
        if self._squash:
            return self._size, self._size
        shown_width = width * aspect
        if shown_width >= height:
            return max(self._size, int(self._size * shown_width / height)), self._size
        return self._size, max(self._size, int(self._size * height / shown_width))

    def _crop(self, image: NDArray[np.generic]) -> NDArray[np.generic]:
        top = round((image.shape[0] - self._size) / 2)
        left = round((image.shape[1] - self._size) / 2)
        return image[top : top + self._size, left : left + self._size]


def _colour_matrix(frame: av.VideoFrame) -> int | None:
    """The matrix to decode with, where the file names none; None keeps the file's."""
    if frame.colorspace != _UNSPECIFIED:
        return None
    high_definition = frame.height >= _HIGH_DEFINITION_LINES
    return Colorspace.ITU709 if high_definition else Colorspace.ITU601
