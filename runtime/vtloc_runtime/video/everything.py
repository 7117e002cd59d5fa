"""Decode everything, and keep what is on screen at the wanted instants."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

from vtloc_runtime.errors import VideoError
from vtloc_runtime.video.clock import origin_of
from vtloc_runtime.video.frame import Frame, Image
from vtloc_runtime.video.picture import PictureScaler

if TYPE_CHECKING:
    import av

    from vtloc_runtime.video.options import VideoOptions
    from vtloc_runtime.video.stream import StreamPass


class FullDecode:
    """Sampling by decoding every packet: the definition that every shortcut is held to."""

    def __init__(self, stream_pass: StreamPass, options: VideoOptions) -> None:
        self._pass = stream_pass
        self._options = options
        self._scaler = PictureScaler(options.preprocessing)
        self._time_base = stream_pass.timeline.time_base
        self._origin: Fraction | None = None
        self._last_shown = 0
        self._next_expected: int | None = None

    @property
    def duration(self) -> float:
        """When the last picture leaves the screen, seconds on the shown clock."""
        if self._origin is None:
            return 0.0
        end = self._last_shown
        if self._next_expected is not None:
            end = max(end, self._next_expected)
        if self._pass.end is not None:
            end = max(end, self._pass.end)
        return float(end * self._time_base - self._origin)

    def frames(self) -> Iterator[Frame]:
        """The frame on screen at each wanted instant.

        Raises:
            VideoError: Nothing in the file can be decoded.
        """
        targets = self._options.targets()
        target = next(targets, None)
        current: av.VideoFrame | None = None
        image: Image | None = None
        for pts, picture in self._pictures():
            if self._origin is None:
                self._origin = origin_of(self._pass.container, pts, self._time_base)
            shown_from = pts * self._time_base - self._origin
            while target is not None and target < shown_from and current is not None:
                image = self._scale(current) if image is None else image
                yield self._frame(image, self._last_shown, target)
                target = next(targets, None)
            if target is None:
                return
            current, image, self._last_shown = picture, None, pts
        if current is None:
            raise VideoError("holds nothing that can be decoded", where=self._pass.source.name)
        while target is not None and (target < self.duration or target == 0):
            image = self._scale(current) if image is None else image
            yield self._frame(image, self._last_shown, target)
            target = next(targets, None)

    def warnings(self) -> tuple[str, ...]:
        """What is worth saying about the file."""
        toll = self._pass.toll
        found = []
        if toll.damaged:
            found.append(f"{toll.damaged} damaged packets were skipped")
        if toll.unreadable:
            found.append("the file cannot be read to its end")
        return tuple(found)

    def _scale(self, picture: av.VideoFrame) -> Image:
        return self._scaler.scale(picture, self._pass.aspect)

    def _frame(self, image: Image, pts: int, asked: Fraction) -> Frame:
        origin = self._origin or Fraction(0)
        return Frame(image, float(pts * self._time_base - origin), float(asked))

    def _pictures(self) -> Iterator[tuple[int, av.VideoFrame]]:
        """Every picture with its time, which only ever rises."""
        for timed in self._pass.packets():
            yield from self._timed(self._pass.decode(timed.packet))
        yield from self._timed(self._pass.decode(None))

    def _timed(self, pictures: list[av.VideoFrame]) -> Iterator[tuple[int, av.VideoFrame]]:
        step = self._pass.timeline.ticks(1 / Fraction(self._pass.stream.average_rate or 25))
        for picture in pictures:
            time = picture.pts if picture.pts is not None else picture.dts
            if time is None:
                time = self._next_expected or 0
            self._next_expected = time + (picture.duration or step)
            yield time, picture
