"""Thumbnails of a video, evenly spaced, for the report."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vtloc_runtime.bundle.manifest import Preprocessing
from vtloc_runtime.video import VideoOptions
from vtloc_runtime.video.isolation.chunks import FrameChunk, Read, read_here

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SIZE = 112


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """One picture of a video.

    Attributes:
        time: Its time in the video, seconds.
        data_uri: The picture as a ``data:image/jpeg`` address.
    """

    time: float
    data_uri: str


def read_filmstrip(
    video: Any, duration: float, *, count: int = 16, read: Read = read_here
) -> tuple[Thumbnail, ...]:
    """Read ``count`` pictures of a video, from the middle of as many equal parts.

    Args:
        video: Whatever ``open_video`` takes.
        duration: The video's length, seconds.
        count: Maximum number of pictures.
        read: Decodes the video; in this process by default, for trusted videos only.

    Raises:
        VideoError: The video cannot be read.
    """
    instants = tuple((index + 0.5) * duration / count for index in range(count))
    options = VideoOptions(instants=instants, preprocessing=Preprocessing(size=_SIZE))
    chunks = [part for part in read(video, options, count) if isinstance(part, FrameChunk)]
    return tuple(
        Thumbnail(float(time), _data_uri(image))
        for chunk in chunks
        for time, image in zip(chunk.times, chunk.images[chunk.index], strict=True)
    )


def _data_uri(image: NDArray[np.uint8]) -> str:
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mjpeg") as container:
        stream = container.add_stream("mjpeg", rate=1)
        stream.height, stream.width = image.shape[:2]
        stream.pix_fmt = "yuvj420p"
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
