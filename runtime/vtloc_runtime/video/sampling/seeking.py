"""Read instants that lie far apart: jump to the keyframe before each group of them."""

from __future__ import annotations

from fractions import Fraction
from itertools import chain
from typing import TYPE_CHECKING

from vtloc_runtime.video.demuxing.demux import DemuxPass
from vtloc_runtime.video.sampling.keyframe_index import KeyframeIndex, jump_to_end
from vtloc_runtime.video.sampling.sampler import PassSampler
from vtloc_runtime.video.sampling.sparse import SparseSampler

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vtloc_runtime.video.demuxing.timestamps import DisplayClock
    from vtloc_runtime.video.frame import Frame
    from vtloc_runtime.video.options import VideoOptions

_WORTH_A_JUMP = Fraction(4)
# Indexes go by decode time, which runs ahead of the picture's.
_MARGIN = 1


class SeekingSampler(PassSampler):
    """Samples an indexed file without reading what lies between instants that are far apart.

    Each group of instants is decoded from the keyframe before it. The frames are those of the
    whole file read in order.

    Args:
        stream_pass: The pass, at its start.
        options: What to sample.
    """

    def __init__(self, stream_pass: DemuxPass, options: VideoOptions) -> None:
        super().__init__(stream_pass, options)
        self._part = SparseSampler(stream_pass, options)
        self._again: DemuxPass | None = None
        self._index = KeyframeIndex((), ())
        self._end: int | None = None

    @property
    def end(self) -> int | None:
        """The tick at which the last picture leaves the screen."""
        ends = (self._end, self._part.end)
        return max((end for end in ends if end is not None), default=None)

    @property
    def damaged(self) -> int:
        """Packets that could not be decoded; one that two groups needed counts twice."""
        again = 0 if self._again is None else self._again.stats.damaged
        return self._pass.stats.damaged + again

    def frames(self, targets: Iterator[Fraction]) -> Iterator[Frame]:
        """The frame on screen at each of some ascending instants, up to the video's end.

        Raises:
            VideoError: Nothing in the file can be decoded.
        """
        self._clock = clock = self._part.begin()
        index = KeyframeIndex.read(self._pass, self._options, clock, self._part.first)
        self._index = index
        groups = _groups(targets, index)
        for number, group in enumerate(groups):
            far = number or index.between(Fraction(0), group[0] - _MARGIN)
            if far and not self._jump(clock, group[0]):
                yield from self._in_order(chain(group, chain.from_iterable(groups)))
                return
            given = 0
            for frame in self._part.frames(iter(group)):
                given += 1
                yield frame
            if self._part.lost or self._pass.timestamps.jumps:
                # Past a place where timestamps start over, ticks name other pictures.
                rest = chain(group[given:], chain.from_iterable(groups))
                yield from self._in_order(rest)
                return
            if self._part.ended:
                return

    def finish(self) -> None:
        """Read the end of the file without decoding it, so that ``duration`` is the video's."""
        if self._again is None and not self._index.is_behind(self._pass.end):
            self._end = self.end
            jump_to_end(self._pass)
        self._part.finish()

    def close(self) -> None:
        """Close the second pass, if there is one."""
        if self._again is not None:
            self._again.close()

    def _jump(self, clock: DisplayClock, target: Fraction) -> bool:
        """Begin a new group at the keyframe before an instant; whether the file allows it."""
        self._end = self.end
        if not self._pass.seek(clock.tick(max(Fraction(0), target - _MARGIN))):
            return False
        self._part = SparseSampler(self._pass, self._options, clock)
        return True

    def _in_order(self, targets: Iterator[Fraction]) -> Iterator[Frame]:
        """Read the rest from the file's start, where jumping does not work."""
        self._again = DemuxPass(self._pass.source, self._options)
        self._part = SparseSampler(self._again, self._options)
        yield from self._part.frames(targets)


def _groups(targets: Iterable[Fraction], index: KeyframeIndex) -> Iterator[list[Fraction]]:
    """Ascending instants in groups with a keyframe, and some seconds, between them."""
    group: list[Fraction] = []
    for target in targets:
        if group:
            apart = target - group[-1] >= _WORTH_A_JUMP
            if apart and index.between(group[-1], target - _MARGIN):
                yield group
                group = []
        group.append(target)
    if group:
        yield group
