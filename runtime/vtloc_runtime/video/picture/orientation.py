"""Orientation and display shape of pictures."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, cast

import av
import numpy as np
from av.filter import Graph
from av.sidedata.sidedata import Type
from av.video.reformatter import Interpolation, VideoReformatter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_TINY = 16
_CODECS_WITH_MESSAGES = frozenset({"h264", "hevc", "vvc"})
_LATER_TYPES = range(len(Type), 64)


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
    def from_frame(cls, frame: av.VideoFrame) -> Orientation:
        """The nearest quarter turn or flip of a frame's display matrix, upright without one."""
        matrix = np.frombuffer(_display_matrix(frame), dtype=np.int32)
        if matrix.size < 5:
            return cls()
        # A point (x, y) is shown at (a x + c y, b x + d y); y points down.
        a, b, c, d = (int(matrix[index]) for index in (0, 1, 3, 4))
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return cls(flip_rows=d < 0, flip_columns=a < 0)
        return cls(transpose=True, flip_rows=b < 0, flip_columns=c < 0)

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The image ``uint8 [H, W, C]`` as it is shown; a view, not a copy."""
        if self.transpose:
            image = image.swapaxes(0, 1)
        rows = slice(None, None, -1) if self.flip_rows else slice(None)
        columns = slice(None, None, -1) if self.flip_columns else slice(None)
        return image[rows, columns]


@dataclass(frozen=True, slots=True)
class Geometry:
    """The shape of a picture on screen.

    Attributes:
        aspect: Width of one stored pixel over its height.
        orientation: How the stored picture is turned.
    """

    aspect: Fraction = Fraction(1)
    orientation: Orientation = field(default_factory=Orientation)


class OrientationTracker:
    """The orientation of each picture of a pass, asked in the order in which they come out.

    Args:
        codec: FFmpeg's name of the codec. H.264 and HEVC may say the orientation now and then, in
            a message that holds until the next; others say it with each picture.
    """

    def __init__(self, codec: str) -> None:
        self._holds = codec in _CODECS_WITH_MESSAGES
        self._rotation: int | None = None
        self._orientation = Orientation()

    def of_next(self, frame: av.VideoFrame) -> Orientation:
        """The orientation of the next picture."""
        rotation = frame.rotation
        if self._rotation is None or (rotation != self._rotation and (rotation or not self._holds)):
            self._rotation = rotation
            self._orientation = Orientation.from_frame(frame)
        return self._orientation


def _display_matrix(frame: av.VideoFrame) -> memoryview | bytes:
    """The frame's display matrix, empty where it has none.

    Reading side data ties a frame into a reference cycle, so that its pixels would stay until the
    next garbage collection: hence a tiny copy.
    """
    try:
        tiny = VideoReformatter().reformat(
            frame, width=_TINY, height=_TINY, interpolation=Interpolation.POINT, threads=1
        )
    except (av.FFmpegError, ValueError):
        tiny = frame
    try:
        return _matrix(tiny)
    except ValueError:
        # PyAV has no name for some side data that a newer FFmpeg attaches (EXIF, stereo views).
        return _matrix(_without_later_types(tiny))


def _matrix(frame: av.VideoFrame) -> memoryview | bytes:
    return cast("Mapping[str, memoryview]", frame.side_data).get("DISPLAYMATRIX", b"")


def _without_later_types(frame: av.VideoFrame) -> av.VideoFrame:
    """The frame without side data of types that PyAV cannot name."""
    graph = Graph()
    last = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 1000)
    )
    for kind in _LATER_TYPES:
        removal = graph.add("sidedata", f"mode=delete:type={kind}")
        last.link_to(removal)
        last = removal
    sink = graph.add("buffersink")
    last.link_to(sink)
    graph.configure()
    graph.push(frame)
    return cast("av.VideoFrame", graph.pull())
