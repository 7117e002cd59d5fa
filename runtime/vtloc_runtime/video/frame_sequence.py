"""Pictures that were decoded elsewhere, with their times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np

from vtloc_runtime.errors import VideoError
from vtloc_runtime.video.frame import Frame
from vtloc_runtime.video.picture.scaling import PictureScaler

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vtloc_runtime.video.options import VideoOptions

_CHANNELS = 3
_WHERE = "frame sequence"


class FrameSequence:
    """Pictures with times, to be sampled as a video would be.

    Args:
        images: Pictures as ``uint8 [H, W, 3]``, RGB: one array ``[N, H, W, 3]``, or a sequence
            whose pictures may differ in size.
        times: When each picture comes on screen, seconds, ``[N]``, rising.
        duration: When the last picture leaves the screen, seconds after the first came on; by
            default it stays as long as the one before it did.

    Raises:
        VideoError: There is no picture, or pictures and times do not belong together.
    """

    def __init__(
        self,
        images: NDArray[np.uint8] | Sequence[NDArray[np.uint8]],
        times: Sequence[float] | NDArray[np.floating],
        *,
        duration: float | None = None,
    ) -> None:
        self.images = images
        self.times = np.asarray(times, dtype=np.float64)
        self._check()
        self.times = self.times - self.times[0]
        last_shown = float(np.diff(self.times)[-1]) if len(self.times) > 1 else 0.0
        self.duration = float(self.times[-1]) + last_shown if duration is None else duration
        if not self.times[-1] <= self.duration < np.inf:
            raise VideoError(f"ends at {self.duration} s, before its last picture", where=_WHERE)

    def _check(self) -> None:
        if self.times.ndim != 1 or len(self.images) != len(self.times):
            raise VideoError(
                f"has {len(self.images)} pictures and times of shape {self.times.shape}",
                where=_WHERE,
            )
        if not len(self.times):
            raise VideoError("holds no picture", where=_WHERE)
        if not np.isfinite(self.times).all() or (np.diff(self.times) <= 0).any():
            raise VideoError("has times that do not rise", where=_WHERE)
        for index, image in enumerate(self.images):
            if image.dtype != np.uint8 or image.ndim != _CHANNELS or image.shape[2] != _CHANNELS:
                raise VideoError(
                    f"picture {index} is {image.dtype} {image.shape}, not uint8 [H, W, 3]",
                    where=_WHERE,
                )

    def sample(self, options: VideoOptions) -> Iterator[Frame]:
        """The picture on screen at each wanted instant."""
        scaler = PictureScaler(options.preprocessing)
        shown = -1
        image = np.empty(0, dtype=np.uint8)
        for target in options.targets():
            asked = float(target)
            if asked >= self.duration and asked > 0:
                return
            index = max(0, int(np.searchsorted(self.times, asked, side="right")) - 1)
            if index != shown:
                picture = np.ascontiguousarray(self.images[index])
                image = scaler.scale(av.VideoFrame.from_ndarray(picture, "rgb24"), Fraction(1))
                shown = index
            yield Frame(image, float(self.times[index]), asked)
