"""Pictures that the caller decoded, with their times."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from vtloc_runtime.errors import VideoError
from vtloc_runtime.video.frame import Frame

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vtloc_runtime.video.options import VideoOptions

_CHANNELS = 3
_WHERE = "frame sequence"
_IMAGES = "Give pictures as uint8 [H, W, 3], RGB"
_TIMES = "Give one time in seconds for each picture, rising"


class FrameSequence:
    """Pictures with times, to be sampled as a video would be.

    Args:
        images: Pictures as ``uint8 [H, W, 3]``, RGB: one array ``[N, H, W, 3]``, or a sequence
            whose pictures may differ in size.
        times: When each picture comes on screen, seconds, ``[N]``, rising.
        duration: When the last picture leaves the screen, seconds after the first came on; by
            default it stays as long as the one before it did.

    Attributes:
        images: The pictures.
        times: When each comes on screen, ``float64 [N]``, seconds after the first.
        duration: When the last leaves the screen, seconds.

    Raises:
        VideoError: There is no picture, one is not a picture, or the times do not fit.
    """

    def __init__(
        self,
        images: NDArray[np.uint8] | Sequence[NDArray[np.uint8]],
        times: Sequence[float] | NDArray[np.floating],
        *,
        duration: float | None = None,
    ) -> None:
        self.images = _checked_images(images)
        self.times = _checked_times(times, len(self.images))
        last_shown = float(np.diff(self.times)[-1]) if len(self.times) > 1 else 0.0
        self.duration = float(self.times[-1]) + last_shown
        if duration is not None:
            self.duration = _checked_duration(duration)
        if not self.times[-1] <= self.duration < math.inf:
            raise VideoError(
                f"ends at {self.duration} s, before its last picture",
                where=_WHERE,
                remedy="Give a duration in seconds that lies after the last time",
            )

    @property
    def period(self) -> float:
        """Seconds from one picture to the next, the middle of all; 0 for a single picture."""
        steps = np.sort(np.diff(self.times))
        return float(steps[len(steps) // 2]) if len(steps) else 0.0

    def sample(self, options: VideoOptions) -> Iterator[Frame]:
        """The picture on screen at each wanted instant.

        Args:
            options: The instants, the preprocessing, and the limits.

        Raises:
            VideoError: It lasts longer, or gives more frames, than the limits allow.
        """
        import av

        from vtloc_runtime.video.picture.scaling import PictureScaler

        self._check_limits(options)
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
                image = scaler.scale(av.VideoFrame.from_ndarray(picture, "rgb24"))
                shown = index
            yield Frame(image, float(self.times[index]), asked)

    def _check_limits(self, options: VideoOptions) -> None:
        """Refuse a sequence that is too long before its first frame is made."""
        limits = options.limits
        if self.duration > limits.seconds:
            raise VideoError(
                f"lasts longer than {limits.seconds:g} s",
                where=_WHERE,
                remedy="Check that its times are seconds, or raise Limits.seconds",
            )
        if options.instants is None and self.duration * float(options.rate) > limits.frames:
            raise VideoError(
                f"gives more than {limits.frames} frames",
                where=_WHERE,
                remedy="Sample fewer frames per second, or raise Limits.frames",
            )


def _checked_images(images: object) -> NDArray[np.uint8] | Sequence[NDArray[np.uint8]]:
    if isinstance(images, np.ndarray):
        if images.dtype != object and images.ndim != _CHANNELS + 1:
            raise VideoError(
                f"holds {images.dtype} {list(images.shape)}, not uint8 [N, H, W, 3]",
                where=_WHERE,
                remedy=_IMAGES,
            )
    elif not isinstance(images, Sequence) or isinstance(images, str | bytes):
        raise VideoError(
            f"has a {type(images).__name__} instead of pictures", where=_WHERE, remedy=_IMAGES
        )
    if not len(images):
        raise VideoError("holds no picture", where=_WHERE, remedy=_IMAGES)
    for index, image in enumerate(images):
        if not isinstance(image, np.ndarray):
            raise VideoError(
                f"picture {index} is a {type(image).__name__}, not an array",
                where=_WHERE,
                remedy=_IMAGES,
            )
        wrong_shape = image.ndim != _CHANNELS or image.shape[2] != _CHANNELS or not image.size
        if image.dtype != np.uint8 or wrong_shape:
            raise VideoError(
                f"picture {index} is {image.dtype} {list(image.shape)}, not uint8 [H, W, 3]",
                where=_WHERE,
                remedy=_IMAGES,
            )
    return images


def _checked_times(times: object, count: int) -> NDArray[np.float64]:
    try:
        given = np.asarray(times)
        numbers = given.dtype.kind in "iuf" or not given.size
        seconds = given.astype(np.float64) if numbers else None
    except (TypeError, ValueError, OverflowError):
        seconds = None
    if seconds is None:
        raise VideoError("has times that are not numbers", where=_WHERE, remedy=_TIMES)
    if seconds.shape != (count,):
        raise VideoError(
            f"has {count} pictures and times of shape {list(seconds.shape)}",
            where=_WHERE,
            remedy=_TIMES,
        )
    if not np.isfinite(seconds).all() or (np.diff(seconds) <= 0).any():
        raise VideoError("has times that do not increase", where=_WHERE, remedy=_TIMES)
    with np.errstate(over="ignore"):
        from_first: NDArray[np.float64] = seconds - seconds[0]
    return from_first


def _checked_duration(duration: object) -> float:
    if isinstance(duration, bool) or not isinstance(duration, int | float | np.number):
        raise VideoError(
            f"has a {type(duration).__name__} as its duration",
            where=_WHERE,
            remedy="Give seconds as a number",
        )
    if isinstance(duration, complex | np.complexfloating):
        raise VideoError("has a complex duration", where=_WHERE, remedy="Give seconds as a number")
    return float(duration)
