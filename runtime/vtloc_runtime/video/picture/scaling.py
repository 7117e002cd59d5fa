"""Scale a decoded picture to the RGB square that the visual network takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from vtloc_runtime.errors import VideoError
from vtloc_runtime.video.picture.centre_crop import CentreCropper
from vtloc_runtime.video.picture.orientation import Geometry
from vtloc_runtime.video.picture.tone_mapping import ToneMapper

if TYPE_CHECKING:
    from collections.abc import Sequence
    from fractions import Fraction

    from numpy.typing import NDArray

    from vtloc_runtime.bundle.manifest import Preprocessing
    from vtloc_runtime.video.decoders.nvdec.session import DevicePicture
    from vtloc_runtime.video.frame import Image
    from vtloc_runtime.video.picture.centre_crop import CropRegion
    from vtloc_runtime.video.picture.orientation import Orientation

_Sample = TypeVar("_Sample", np.uint8, np.uint16)
_KERNELS = {"bicubic": Interpolation.BICUBIC, "bilinear": Interpolation.BILINEAR}
_EXACTNESS = (
    Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
)
_HIGH_DEFINITION_LINES = 720
# Matrices by FFmpeg's number that libswscale converts from; the rest are read as BT.2020 or 709.
_KNOWN_MATRICES = {0, 1, 4, 5, 6, 7, 9}
_BT2020_CONSTANT_LUMINANCE = 10
_UPRIGHT = Geometry()


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
        self._cropper = CentreCropper(self._size)
        self._tone = ToneMapper()

    def scale(self, picture: av.VideoFrame | DevicePicture, geometry: Geometry = _UPRIGHT) -> Image:
        """Scale, turn and crop.

        Args:
            picture: The decoded picture.
            geometry: Its shape on screen; square pixels and upright by default.

        Returns:
            ``uint8 [S, S, 3]``, RGB, contiguous.

        Raises:
            VideoError: The picture's format cannot be converted.
        """
        frame = picture if isinstance(picture, av.VideoFrame) else picture.fetch()
        try:
            whole = self._scaled_size(frame.width, frame.height, geometry.aspect)
            _set_colour_matrix(frame)
            part, window = self._cropper.cut(frame, whole)
            planes = self._planes(part, window)
        except (av.FFmpegError, ValueError) as error:
            what = f"has pictures of a kind that cannot be shown ({frame.format.name})"
            raise VideoError(what) from error
        orientation = geometry.orientation
        left, top = self._corner(whole, orientation)
        left, top = left - window.columns.scaled_start, top - window.rows.scaled_start
        image = np.empty((self._size, self._size, 3), dtype=np.uint8)
        for channel, plane in enumerate(planes):
            image[..., channel] = plane[top : top + self._size, left : left + self._size]
        return np.ascontiguousarray(orientation.apply(image))

    def _planes(self, frame: av.VideoFrame, window: CropRegion) -> Sequence[NDArray[np.uint8]]:
        """The window, small, as R, G and B ``uint8 [H, W]``."""
        if self._tone.is_hdr(frame):
            # Light has to be computed with more than 8 bits.
            small = self._reformat(frame, window, "gbrp16le")
            deep = np.stack(_rgb_planes(small, np.uint16))
            return list(self._tone.to_standard_range(deep, frame))
        if any(component.is_alpha for component in frame.format.components):
            small = self._reformat(frame, window, "rgba")
            pixels = small.to_ndarray().astype(np.uint16)
            # Over black, as players show it.
            over_black = (pixels[..., :3] * pixels[..., 3:] + 127) // 255
            return list(over_black.astype(np.uint8).transpose(2, 0, 1))
        return _rgb_planes(self._reformat(frame, window, "gbrp"), np.uint8)

    def _reformat(self, frame: av.VideoFrame, window: CropRegion, pixels: str) -> av.VideoFrame:
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


def _set_colour_matrix(frame: av.VideoFrame) -> None:
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
