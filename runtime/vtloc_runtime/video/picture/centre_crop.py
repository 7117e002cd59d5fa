"""Crop the part of a stored picture that its scaled centre is made from.

Only the middle of a wide picture is kept, so only that has to be scaled. The part is cut where its
edges lie on whole pixels both before and after scaling, to within a sixteenth of a stored pixel,
and far enough outside the centre that the kernel never sees the cut.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, cast

from av.filter import Graph

if TYPE_CHECKING:
    import av

_NEAR_ENOUGH = Fraction(1, 16)
_KERNEL_REACH = 2
_WORTHWHILE_PIXELS = 50_000
_UNITS = 64


@dataclass(frozen=True, slots=True)
class Extent:
    """A part of one side of a picture.

    Attributes:
        start: Its first stored pixel.
        length: Stored pixels.
        scaled_start: The pixel of the whole scaled side that ``start`` becomes.
        scaled_length: Pixels that ``length`` becomes.
    """

    start: int
    length: int
    scaled_start: int
    scaled_length: int

    @classmethod
    def around_centre(cls, stored: int, scaled: int, size: int, step: int) -> Extent:
        """What the centre of a side needs.

        Args:
            stored: Pixels of the side as stored.
            scaled: Pixels of the side once scaled.
            size: Pixels of the centre once scaled.
            step: Stored pixels between which the picture can be cut; its chroma decides.
        """
        reach = math.ceil(_KERNEL_REACH * max(1.0, scaled * step / stored)) + 1
        ratio = Fraction(stored, scaled)

        def cut(place: int) -> int | None:
            """The stored pixel for a scaled one, None where none is near enough."""
            near = round(place * ratio / step) * step
            return near if abs(near - place * ratio) <= _NEAR_ENOUGH else None

        before = (scaled - size) // 2 - reach
        first = next((place for place in range(before, 0, -1) if cut(place) is not None), 0)
        after = scaled - before
        last = next((place for place in range(after, scaled) if cut(place) is not None), scaled)
        start = cut(first) or 0
        end = stored if last == scaled else cast("int", cut(last))
        return cls(start, end - start, first, last - first)


@dataclass(frozen=True, slots=True)
class CropRegion:
    """A part of a picture: an extent of its columns, and one of its rows."""

    columns: Extent
    rows: Extent

    @classmethod
    def around_centre(cls, frame: av.VideoFrame, scaled: tuple[int, int], size: int) -> CropRegion:
        """The part that the centre square is scaled from, or all where a part saves little.

        Args:
            frame: A decoded picture.
            scaled: Width and height of the whole picture, once scaled.
            size: Pixels of the square's side, once scaled.
        """
        stored = frame.width, frame.height
        kind = frame.format
        steps = _UNITS // kind.chroma_width(_UNITS), _UNITS // kind.chroma_height(_UNITS)
        window = cls(*map(Extent.around_centre, stored, scaled, (size, size), steps))
        # Where chroma hangs over the edge, libswscale stretches it over the whole side.
        even = not any(side % step for side, step in zip(stored, steps, strict=True))
        saved = stored[0] * stored[1] - window.columns.length * window.rows.length
        if kind.is_planar and even and saved >= _WORTHWHILE_PIXELS:
            return window
        return cls(*(Extent(0, side, 0, small) for side, small in zip(stored, scaled, strict=True)))


class CentreCropper:
    """Cuts windows out of decoded pictures, without copying a pixel.

    Args:
        size: Pixels of the centre square's side, once scaled.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._kind: tuple[object, ...] | None = None
        self._window: CropRegion | None = None
        self._graph: Graph | None = None

    def cut(
        self, frame: av.VideoFrame, scaled: tuple[int, int]
    ) -> tuple[av.VideoFrame, CropRegion]:
        """The part of a picture that its centre is scaled from, and where it lies.

        Args:
            frame: The decoded picture.
            scaled: Width and height of the whole picture, once scaled.
        """
        kind = (frame.width, frame.height, frame.format.name, *scaled)
        if self._window is None or self._kind != kind:
            self._kind = kind
            self._window = CropRegion.around_centre(frame, scaled, self._size)
            self._graph = _crop_graph(frame, self._window)
        if self._graph is None:
            return frame, self._window
        self._graph.push(frame)
        part = cast("av.VideoFrame", self._graph.pull())
        part.colorspace, part.color_range = frame.colorspace, frame.color_range
        return part, self._window


def _crop_graph(frame: av.VideoFrame, window: CropRegion) -> Graph | None:
    """A filter that moves a picture's borders; None where they stay."""
    columns, rows = window.columns, window.rows
    if (columns.length, rows.length) == (frame.width, frame.height):
        return None
    graph = Graph()
    source = graph.add_buffer(
        width=frame.width,
        height=frame.height,
        format=frame.format,
        time_base=Fraction(1, 1000),
    )
    crop = graph.add("crop", f"{columns.length}:{rows.length}:{columns.start}:{rows.start}:exact=1")
    sink = graph.add("buffersink")
    source.link_to(crop)
    crop.link_to(sink)
    graph.configure()
    return graph
