"""Read keyframes alone, each decoded by itself: far less work than the frames between them."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from vtloc_runtime.video.frame import Frame
from vtloc_runtime.video.picture.scaling import PictureScaler
from vtloc_runtime.video.sampling.keyframe_index import KeyframeIndex, jump_to_end
from vtloc_runtime.video.sampling.sampler import PassSampler
from vtloc_runtime.video.sampling.sparse import SparseSampler

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av import VideoFrame

    from vtloc_runtime.video.demuxing.demux import DemuxPass
    from vtloc_runtime.video.options import VideoOptions

_PACKETS_OF_A_PICTURE = 4


class KeyframeSampler(PassSampler):
    """For each instant, the last keyframe that the file's index places no later.

    Each keyframe comes once, however many instants it is the last for, and with the time at which
    it is on screen. Without instants it reads no frame and only lists the keyframes.

    Args:
        stream_pass: The pass, at its start.
        options: What to sample.
        listing: List the keyframes, and find the video's end, without decoding any.
    """

    def __init__(
        self, stream_pass: DemuxPass, options: VideoOptions, *, listing: bool = False
    ) -> None:
        super().__init__(stream_pass, options)
        self._listing = listing
        self._part = SparseSampler(stream_pass, options)
        self._scaler = PictureScaler(options.preprocessing)
        self._index = KeyframeIndex((), ())
        self.hidden_cuts = np.empty(0)

    @property
    def end(self) -> int | None:
        """The tick at which the last picture leaves the screen."""
        return self._part.end

    def frames(self, targets: Iterator[Fraction]) -> Iterator[Frame]:
        """The keyframe of each of some ascending instants.

        Raises:
            VideoError: Nothing in the file can be decoded.
        """
        self._clock = clock = self._part.begin()
        if not self._pass.seeks_exactly:
            return
        index = KeyframeIndex.read(self._pass, self._options, clock, self._part.first)
        self._index = index
        if self._listing:
            self.keyframes = index.listed(self._options)
            packets = self._pass.indexed_packets()
            self.hidden_cuts = index.hidden_cuts(packets, self._options, clock.time_base)
            return
        last: int | None = None
        shown = self._part.first - 1
        for target in targets:
            place = index.at(target)
            if place is None or place == last or not index.seek(self._pass, place):
                continue
            last = place
            picture = self._decode()
            if picture is not None and picture.pts is not None and picture.pts > shown:
                shown = picture.pts
                image = self._scaler.scale(picture, self._pass.geometry(picture))
                yield Frame(image, max(0.0, clock.seconds(picture.pts)), float(target))

    def finish(self) -> None:
        """Read the end of the file without decoding it, so that ``duration`` is the video's."""
        if self._pass.seeks_exactly and not self._index.is_behind(self._pass.end):
            jump_to_end(self._pass)
        self._part.finish()

    def _decode(self) -> VideoFrame | None:
        """The keyframe that was jumped to; None where none comes out there."""
        for number, timed in enumerate(self._pass.packets()):
            if not (timed.start or number):
                return None
            pictures = self._pass.decode(timed.packet)
            # Most decoders hold a picture back until more arrive, or until they are flushed.
            pictures = pictures or self._pass.decode(None)
            if pictures or number == _PACKETS_OF_A_PICTURE:
                return pictures[0] if pictures else None
        return None
