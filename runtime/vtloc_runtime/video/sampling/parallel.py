"""Decode several parts of a file at the same time, and return the frames in order."""

from __future__ import annotations

import math
import threading
from bisect import bisect_right
from itertools import chain, count, islice, repeat
from typing import TYPE_CHECKING

from vtloc_runtime.video.demuxing.demux import DemuxPass
from vtloc_runtime.video.sampling.channel import Channel, PartEnd
from vtloc_runtime.video.sampling.sampler import PassSampler
from vtloc_runtime.video.sampling.sparse import SparseSampler

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from fractions import Fraction

    from vtloc_runtime.video.demuxing.timestamps import DisplayClock
    from vtloc_runtime.video.frame import Frame
    from vtloc_runtime.video.options import VideoOptions

# A part that starts in the middle of a group of pictures should be worth several of them; one that
# starts with a group may be shorter.
_PART_SECONDS = 60
_SHORTEST_PART, _LONGEST_PART = 64, 256
_EARLY_CUT = 4
# Indexes go by decode time, which runs ahead of the picture's.
_SEEK_MARGIN = 1


class ParallelSampler(PassSampler):
    """Decodes parts of an indexed file in several threads, and gives the frames in order.

    Each thread has its own container and takes every n-th part, so memory stays bounded by the
    parts in work. What a thread gives is what the whole file read in order would give.

    Args:
        stream_pass: The pass, at its start; it sets the clock and is the way out of trouble.
        options: What to sample, and in how many threads.
    """

    def __init__(self, stream_pass: DemuxPass, options: VideoOptions) -> None:
        super().__init__(stream_pass, options)
        self._whole = SparseSampler(stream_pass, options)
        self._part = _part_samples(options)
        self._starts: list[Fraction] = []
        self._channels = [Channel(self._part) for _ in range(options.workers)]
        self._threads: list[threading.Thread] = []
        self._ended = False
        self._ends: dict[int, int] = {}
        self._damaged: dict[int, int] = {}

    @property
    def end(self) -> int | None:
        """The tick at which the last picture leaves the screen."""
        ends = [*self._ends.values(), self._whole.end]
        return max((end for end in ends if end is not None), default=None)

    @property
    def damaged(self) -> int:
        """Packets that could not be decoded; one that two parts needed counts twice."""
        return self._whole.damaged + sum(self._damaged.values())

    def frames(self, targets: Iterator[Fraction]) -> Iterator[Frame]:
        """The frame on screen at each of some ascending instants, up to the video's end.

        Raises:
            VideoError: Nothing in the file can be decoded.
        """
        self._clock = self._whole.begin()
        self._starts = _group_starts(self._pass, self._clock)
        parts = _parts(targets, self._starts, self._part)
        for worker in range(1, len(self._channels)):
            self._start(worker, self._clock)
        yield from self._whole.frames(iter(next(parts, [])))
        if self._whole.ended:
            self._ended = True
            return
        self._start(0, self._clock)
        for number in count(1):
            channel = self._channels[number % len(self._channels)]
            part = next(parts, [])
            given = 0
            while not isinstance(item := channel.take(), PartEnd):
                given += 1
                yield item
            if item.lost:
                yield from self._alone(chain(part[given:], chain.from_iterable(parts)))
                return
            if item.ended or not part:
                self._ended = item.ended and bool(part)
                return

    def finish(self) -> None:
        """Read the rest of the file without decoding it, so that ``duration`` is the video's."""
        if not self._ended:
            self._whole.finish()

    def close(self) -> None:
        """Stop the threads."""
        for channel in self._channels:
            channel.close()
        for thread in self._threads:
            thread.join()

    def _start(self, worker: int, clock: DisplayClock) -> None:
        thread = threading.Thread(target=self._run, args=(worker, clock), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self, worker: int, clock: DisplayClock) -> None:
        channel = self._channels[worker]
        try:
            own = DemuxPass(self._pass.source, self._options)
            try:
                self._decode_parts(worker, own, clock, channel)
            finally:
                own.close()
        except BaseException as error:  # noqa: BLE001 - it is raised again in the taker's thread
            channel.put(error)

    def _decode_parts(
        self, worker: int, own: DemuxPass, clock: DisplayClock, channel: Channel
    ) -> None:
        workers = len(self._channels)
        parts = chain(_parts(self._options.targets(), self._starts, self._part), repeat([]))
        for part in islice(parts, worker or workers, None, workers):
            lost = bool(part) and not own.seek(clock.tick(part[0] - _SEEK_MARGIN))
            decode = SparseSampler(own, self._options, clock)
            if not lost:
                for frame in decode.frames(iter(part)):
                    if not channel.put(frame):
                        return
            self._note(worker, own)
            ended = decode.ended or not part
            # After a jump of the timestamps this pass cannot seek any more.
            lost = lost or decode.lost or own.timestamps.jumps > 0
            if not channel.put(PartEnd(ended=ended, lost=lost)) or ended:
                return

    def _note(self, worker: int, own: DemuxPass) -> None:
        self._damaged[worker] = own.stats.damaged
        if own.end is not None:
            self._ends[worker] = own.end

    def _alone(self, targets: Iterator[Fraction]) -> Iterator[Frame]:
        """Read the rest from the start in one thread, where parts cannot be read on their own."""
        for channel in self._channels:
            channel.close()
        again = DemuxPass(self._pass.source, self._options)
        try:
            self._whole = SparseSampler(again, self._options)
            yield from self._whole.frames(targets)
            self._whole.finish()
        finally:
            again.close()


def _part_samples(options: VideoOptions) -> int:
    """Samples in a part: a minute's, within what a thread may hold."""
    if options.instants is not None:
        return _SHORTEST_PART
    return min(max(math.ceil(_PART_SECONDS * options.rate), _SHORTEST_PART), _LONGEST_PART)


def _parts(
    targets: Iterator[Fraction], starts: Sequence[Fraction], longest: int
) -> Iterator[list[Fraction]]:
    """Ascending instants in parts that begin with a group of pictures where one is near.

    Args:
        targets: The instants, seconds on the shown clock; may be endless.
        starts: When groups of pictures come on, as far as that is known.
        longest: Most instants of a part.
    """
    part: list[Fraction] = []
    group = 0
    for target in targets:
        last, group = group, bisect_right(starts, target)
        early = len(part) * _EARLY_CUT >= longest and group != last
        if part and (early or len(part) >= longest):
            yield part
            part = []
        part.append(target)
    if part:
        yield part


def _group_starts(stream_pass: DemuxPass, clock: DisplayClock) -> list[Fraction]:
    """When keyframes come on by the file's index, seconds; near enough to divide work by."""
    ticks = stream_pass.indexed_keyframes()
    return sorted((tick - ticks[0]) * clock.time_base for tick in ticks)
