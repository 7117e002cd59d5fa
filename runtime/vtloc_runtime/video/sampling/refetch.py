"""Decode a missing picture again, in order from an earlier position."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from vtloc_runtime.video.demuxing.demux import DemuxPass
from vtloc_runtime.video.sampling.sequential import SequentialDecoder, Shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from vtloc_runtime.video.demuxing.source import Source
    from vtloc_runtime.video.options import VideoOptions

_REACH_SECONDS = Fraction(12)
_REACH_GROWTH = 4


class Refetcher:
    """A second pass over the file, opened when first needed.

    Args:
        source: The video.
        options: How it is read.
        first: The tick of the first picture; nothing lies before it.
        time_base: Seconds in a tick.
        may_seek: Says whether ticks mean the same wherever reading starts.
    """

    def __init__(
        self,
        source: Source,
        options: VideoOptions,
        *,
        first: int,
        time_base: Fraction,
        may_seek: Callable[[], bool],
    ) -> None:
        self._source = source
        self._options = options
        self._first = first
        self._reach = int(_REACH_SECONDS / time_base)
        self._may_seek = may_seek
        self._pass: DemuxPass | None = None
        self._decoder: SequentialDecoder | None = None

    @property
    def ended(self) -> bool:
        """Whether the second pass has come to the end of the file."""
        return self._decoder is not None and self._decoder.ended

    @property
    def end(self) -> int | None:
        """The tick at which the last picture leaves the screen, as far as it was read."""
        return None if self._decoder is None else self._decoder.end

    @property
    def damaged(self) -> int:
        """Packets of the second pass that could not be decoded."""
        return 0 if self._pass is None else self._pass.stats.damaged

    def at(self, tick: int, *, onwards: bool = False) -> Shown | None:
        """The picture on screen at a tick, None where nothing can be decoded.

        Args:
            tick: The instant.
            onwards: Go on from the last question however far that is, leaving nothing out.
        """
        if self._decoder is not None and self._within_reach(tick, onwards=onwards):
            return self._decoder.at(tick)
        reach = self._reach
        while self._may_seek() and tick - reach > self._first:
            shown = self._open(tick - reach).at(tick)
            if shown is not None and shown.pts <= tick:
                return shown
            reach *= _REACH_GROWTH
        return self._open(None).at(tick)

    def start(self) -> Shown | None:
        """The first picture of the file, None where nothing can be decoded."""
        return self._open(None).start()

    def finish(self) -> None:
        """Read to the end, so that ``end`` is the video's."""
        if self._decoder is not None:
            self._decoder.finish()

    def close(self) -> None:
        """Close the second pass; what it found out stays."""
        if self._pass is not None:
            self._pass.close()

    def _within_reach(self, tick: int, *, onwards: bool) -> bool:
        position = None if self._decoder is None else self._decoder.position
        if position is None or position > tick:
            return False
        return onwards or not self._may_seek() or tick - position <= self._reach

    def _open(self, tick: int | None) -> SequentialDecoder:
        self.close()
        self._pass = DemuxPass(self._source, self._options)
        midway = tick is not None and self._pass.seek(tick)
        self._decoder = SequentialDecoder(self._pass, midway=midway)
        return self._decoder
