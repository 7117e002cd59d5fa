"""Pictures of a film for the report: spread over the film, and from inside its moments."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vtloc_runtime.bundle.manifest import Preprocessing
from vtloc_runtime.report.model import Frame
from vtloc_runtime.video import VideoOptions
from vtloc_runtime.video.isolation.chunks import FrameChunk, Read, read_here

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SIZE = 112
_SPREAD = 16
_FEWEST_SPREAD = 4
_INSIDE = 5
_FEWEST_INSIDE = 2
_MOST_SPANS = 12
_MOST_FRAMES = 64
_MOST_OF_A_PAGE = 6000


@dataclass(frozen=True, slots=True)
class Filmstrip:
    """Pictures of one film.

    Attributes:
        images: JPEG in base64, each picture once.
        frames: Which picture is on screen when, in order of time.
    """

    images: tuple[str, ...] = ()
    frames: tuple[Frame, ...] = ()


def choose_instants(
    duration: float, spans: Iterable[tuple[float, float]], *, films: int = 1
) -> tuple[float, ...]:
    """When to take pictures: in the middle of equal parts of the film, and inside its moments.

    Args:
        duration: The film's length, seconds.
        spans: Start and end of moments, the most important first.
        films: Films on the page; many films get fewer pictures each.

    Returns:
        Seconds, in order.
    """
    if duration <= 0:
        return ()
    share = _MOST_OF_A_PAGE // max(1, films)
    spread = min(_SPREAD, max(_FEWEST_SPREAD, share // 2))
    inside = min(_INSIDE, max(_FEWEST_INSIDE, share // 4))
    instants = {(part + 0.5) * duration / spread for part in range(spread)}
    for start, end in list(dict.fromkeys(spans))[:_MOST_SPANS]:
        taken = {start + (part + 0.5) * (end - start) / inside for part in range(inside)}
        if len(instants | taken) <= _MOST_FRAMES:
            instants |= {instant for instant in taken if 0 <= instant <= duration}
    return tuple(sorted(instants))


def read_filmstrip(video: Any, instants: Sequence[float], *, read: Read = read_here) -> Filmstrip:
    """Read the pictures that are on screen at some instants.

    Args:
        video: Whatever ``open_video`` takes.
        instants: Seconds, in order.
        read: Decodes the video; in this process by default, for trusted videos only.

    Raises:
        VideoError: The video cannot be read.
    """
    options = VideoOptions(instants=tuple(instants), preprocessing=Preprocessing(size=_SIZE))
    images: dict[str, int] = {}
    times: list[float] = []
    shown: list[int] = []
    for part in read(video, options, len(instants)):
        if isinstance(part, FrameChunk):
            known = [images.setdefault(_jpeg(image), len(images)) for image in part.images]
            times += part.times.tolist()
            shown += [known[index] for index in part.index]
    # A damaged film may give fewer pictures than were asked for.
    when = instants if len(instants) == len(shown) else times
    frames = tuple(
        Frame(round(float(time), 3), image) for time, image in zip(when, shown, strict=True)
    )
    return Filmstrip(tuple(images), frames)


def _jpeg(image: NDArray[np.uint8]) -> str:
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mjpeg") as container:
        stream = container.add_stream("mjpeg", rate=1)
        stream.height, stream.width = image.shape[:2]
        stream.pix_fmt = "yuvj420p"
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return base64.b64encode(buffer.getvalue()).decode("ascii")
