"""Decode every packet, and keep what is on screen at the requested instants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vtloc_runtime.video.demuxing.timestamps import DisplayClock
from vtloc_runtime.video.frame import Frame, Image
from vtloc_runtime.video.picture.scaling import PictureScaler
from vtloc_runtime.video.sampling.sampler import PassSampler
from vtloc_runtime.video.sampling.sequential import SequentialDecoder, Shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from fractions import Fraction

    from vtloc_runtime.video.demuxing.demux import DemuxPass
    from vtloc_runtime.video.options import VideoOptions


class FullSampler(PassSampler):
    """Samples one pass by decoding all of it: the reference that every shortcut must equal.

    Args:
        stream_pass: The pass, at its start.
        options: What to sample.
    """

    def __init__(self, stream_pass: DemuxPass, options: VideoOptions) -> None:
        super().__init__(stream_pass, options)
        self._decoder = SequentialDecoder(stream_pass)

    @property
    def end(self) -> int | None:
        """The tick at which the last picture leaves the screen."""
        return self._decoder.end

    def frames(self, targets: Iterator[Fraction]) -> Iterator[Frame]:
        """The frame on screen at each of some ascending instants, up to the video's end.

        Raises:
            VideoError: Nothing in the file can be decoded.
        """
        first = self._decoder.start()
        if first is None:
            raise self._pass.no_pictures()
        time_base = self._pass.timestamps.time_base
        clock = DisplayClock.starting(self._pass.container, first.pts, time_base)
        self._clock = clock
        scaler = PictureScaler(self._options.preprocessing)
        last: Shown | None = None
        image: Image | None = None
        for target in targets:
            shown = self._decoder.at(clock.tick(target))
            if shown is None:
                return
            if self._decoder.ended and target and float(target) >= self.duration:
                return
            if image is None or shown is not last:
                image, last = scaler.scale(shown.picture, self._pass.geometry(shown.picture)), shown
            yield Frame(image, clock.seconds(shown.pts), float(target))

    def finish(self) -> None:
        """Read the rest of the file without decoding it, so that ``duration`` is the video's."""
        self._decoder.finish()
