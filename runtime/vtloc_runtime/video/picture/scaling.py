"""A decoded picture to the small RGB square that the visual network takes."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, TypeVar, cast

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from vtloc_runtime.errors import VideoError
from vtloc_runtime.video.picture.centre_crop import WindowCutter
from vtloc_runtime.video.picture.tone_mapping import ToneMapper

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from vtloc_runtime.bundle.manifest import Preprocessing
    from vtloc_runtime.video.decoders.nvdec.session import DevicePicture
    from vtloc_runtime.video.frame import Image
    from vtloc_runtime.video.picture.centre_crop import Window

_Sample = TypeVar("_Sample", np.uint8, np.uint16)
_KERNELS = {"bicubic": Interpolation.BICUBIC, "bilinear": Interpolation.BILINEAR}
_EXACTNESS = (
    Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
)
_UNSPECIFIED = 2
_HIGH_DEFINITION_LINES = 720
# Matrices by FFmpeg's number that libswscale converts from; the rest are read as BT.2020 or 709.
_KNOWN_MATRICES = {0, 1, 4, 5, 6, 7, 9}
_BT2020_CONSTANT_LUMINANCE = 10


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
        side_data = cast("Mapping[str, memoryview]", frame.side_data).get("DISPLAYMATRIX")
        if side_data is None:
            return cls()
        matrix = np.frombuffer(side_data, dtype=np.int32)
        if matrix.size < 5:
            return cls()
        # A point (x, y) is shown at (a x + c y, b x + d y); y points down.
        a, b, c, d = (int(matrix[index]) for index in (0, 1, 3, 4))
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return cls(flip_rows=d < 0, flip_columns=a < 0)
        return cls(transpose=True, flip_rows=b < 0, flip_columns=c < 0)

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The image ``[H, W, C]`` as it is shown; a view, not a copy."""
        if self.transpose:
            image = image.swapaxes(0, 1)
        rows = slice(None, None, -1) if self.flip_rows else slice(None)
        columns = slice(None, None, -1) if self.flip_columns else slice(None)
        return image[rows, columns]


class PictureScaler:
    """Turns decoded pictures into frames; one for each decoding thread.

    Scaling goes straight from the decoder's planes to small planar RGB inside libswscale, which
    gives the same bits as packed RGB at less than half the time.
    """

    def __init__(self, preprocessing: Preprocessing) -> None:
        self._size = preprocessing.size
        self._squash = preprocessing.resize == "squash"
        self._flags = _KERNELS[preprocessing.interpolation] | _EXACTNESS
        self._reformatter = VideoReformatter()
        self._cutter = WindowCutter(self._size)
        self._tone = ToneMapper()
        self._turned: tuple[int, Orientation] | None = None

    def scale(self, picture: av.VideoFrame | DevicePicture, aspect: Fraction) -> Image:
        """Scale, turn and crop.

        Args:
            picture: The decoded picture.
            aspect: Width of one pixel over its height.

        Returns:
            ``uint8 [S, S, 3]``, RGB, contiguous.

        Raises:
            VideoError: The picture's format cannot be converted.
        """
        frame = picture if isinstance(picture, av.VideoFrame) else picture.fetch()
        try:
            whole = self._scaled_size(frame.width, frame.height, aspect)
            _settle_matrix(frame)
            part, window = self._cutter.cut(frame, whole)
            planes, small = self._planes(part, window)
        except (av.FFmpegError, ValueError) as error:
            what = f"has pictures of a kind that cannot be shown ({frame.format.name})"
            raise VideoError(what) from error
        orientation = self._orientation(small)
        left, top = self._corner(whole, orientation)
        left, top = left - window.columns.scaled_start, top - window.rows.scaled_start
        image = np.empty((self._size, self._size, 3), dtype=np.uint8)
        for channel, plane in enumerate(planes):
            image[..., channel] = plane[top : top + self._size, left : left + self._size]
        return np.ascontiguousarray(orientation.apply(image))

    def _planes(
        self, frame: av.VideoFrame, window: Window
    ) -> tuple[Sequence[NDArray[np.uint8]], av.VideoFrame]:
        """The window, small, as R, G and B ``uint8 [H, W]``, and the frame it was read from."""
        if self._tone.concerns(frame):
            # Light has to be computed with more than 8 bits.
            small = self._reformat(frame, window, "gbrp16le")
            deep = np.stack(_rgb_planes(small, np.uint16))
            return list(self._tone.to_standard_range(deep, frame)), small
        if any(component.is_alpha for component in frame.format.components):
            small = self._reformat(frame, window, "rgba")
            pixels = small.to_ndarray().astype(np.uint16)
            # Over black, as players show it.
            over_black = (pixels[..., :3] * pixels[..., 3:] + 127) // 255
            return list(over_black.astype(np.uint8).transpose(2, 0, 1)), small
        small = self._reformat(frame, window, "gbrp")
        return _rgb_planes(small, np.uint8), small

    def _orientation(self, small: av.VideoFrame) -> Orientation:
        """How the picture is turned, read again only when that changes.

        Reading side data ties a frame into a reference cycle, so that its pixels would stay until
        the next collection: hence the small frame, and hence seldom.
        """
        if self._turned is None or self._turned[0] != small.rotation:
            self._turned = small.rotation, Orientation.of(small)
        return self._turned[1]

    def _reformat(self, frame: av.VideoFrame, window: Window, pixels: str) -> av.VideoFrame:
        return self._reformatter.reformat(
            frame,
            width=window.columns.scaled_length,
            height=window.rows.scaled_length,
            format=pixels,
            interpolation=self._flags,
            dst_color_range=ColorRange.JPEG,
            threads=1,
        )

    def _scaled_size(self, width: int, height: int, aspect: Fraction) -> tuple[int, int]:
        if self._squash:
            return self._size, self._size
        shown_width = width * aspect
        if shown_width >= height:
            return max(self._size, int(self._size * shown_width / height)), self._size
        return self._size, max(self._size, int(self._size * height / shown_width))

    def _corner(self, whole: tuple[int, int], orientation: Orientation) -> tuple[int, int]:
        """Where the centre square begins in the whole scaled picture, as stored: left and top.

        Half a pixel is rounded as in the picture that is shown.
        """
        left, top = (round((side - self._size) / 2) for side in whole)
        flips = orientation.flip_columns, orientation.flip_rows
        flip_columns, flip_rows = reversed(flips) if orientation.transpose else flips
        if flip_columns:
            left = whole[0] - self._size - left
        if flip_rows:
            top = whole[1] - self._size - top
        return left, top


def _settle_matrix(frame: av.VideoFrame) -> None:
    """Name the matrix to decode with where the file names none, or one that is not known."""
    if frame.colorspace == _BT2020_CONSTANT_LUMINANCE:
        frame.colorspace = Colorspace.BT2020
    elif frame.colorspace not in _KNOWN_MATRICES:
        high_definition = frame.height >= _HIGH_DEFINITION_LINES
        frame.colorspace = Colorspace.ITU709 if high_definition else Colorspace.ITU601


def _rgb_planes(frame: av.VideoFrame, dtype: type[_Sample]) -> list[NDArray[_Sample]]:
    """Planar G, B, R as views ``[H, W]`` in the order R, G, B."""
    planes = []
    for index in (2, 0, 1):
        plane = frame.planes[index]
        stride = plane.line_size // np.dtype(dtype).itemsize
        rows = np.frombuffer(cast("memoryview", plane), dtype=dtype).reshape(-1, stride)
        planes.append(rows[: frame.height, : frame.width])
    return planes
