"""Decode only what the requested instants need; the frames equal those of full decoding."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from typing import TYPE_CHECKING, cast

from vtloc_runtime.video.codecs.random_access import SkipMode
from vtloc_runtime.video.demuxing.packets import NO_PACKET
from vtloc_runtime.video.demuxing.timestamps import DisplayClock
from vtloc_runtime.video.frame import Frame, Image
from vtloc_runtime.video.picture.scaling import PictureScaler
from vtloc_runtime.video.sampling.packet_planner import PacketPlanner
from vtloc_runtime.video.sampling.refetch import Refetcher
from vtloc_runtime.video.sampling.sampler import PassSampler

if TYPE_CHECKING:
    from collections.abc import Iterator

    import av

    from vtloc_runtime.video.demuxing.demux import DemuxPass
    from vtloc_runtime.video.demuxing.packets import TimedPacket
    from vtloc_runtime.video.options import VideoOptions
    from vtloc_runtime.video.sampling.packet_planner import DecodeStep
    from vtloc_runtime.video.sampling.sequential import Shown

_REMEMBERED_PICTURES = 4
_TOLERATED_MISSES = 4
_COSTLY_SHARE = 5


@dataclass(slots=True, eq=False)
class _Sample:
    """An instant on its way to its frame."""

    target: Fraction
    tick: int
    number: int
    pts: int
    image: Image | None = None
    missing: bool = False


class SparseSampler(PassSampler):
    """Samples one pass with a planner ahead of the decoder.

    Args:
        stream_pass: The pass, at its start.
        options: What to sample.
        clock: The video's clock, where the pass begins in the middle of the file.

    Attributes:
        ended: Whether an instant lay past the video's end.
        first: The tick at which the first picture comes on screen, once it is known.
        lost: Whether packets' times in this part of the file allow no planning.
    """

    def __init__(
        self, stream_pass: DemuxPass, options: VideoOptions, clock: DisplayClock | None = None
    ) -> None:
        super().__init__(stream_pass, options, clock)
        self._scaler = PictureScaler(options.preprocessing)
        self._packets = stream_pass.packets()
        self._midway = clock is not None
        self._planner = PacketPlanner(self._packets, midway=self._midway)
        self._skip_mode = stream_pass.bitstream.skip_mode
        self._refetcher: Refetcher | None = None
        self._waiting: deque[_Sample] = deque()
        self._recent: deque[tuple[int, av.VideoFrame]] = deque(maxlen=_REMEMBERED_PICTURES)
        self._scaled: tuple[int, Image] | None = None
        self._fetched: tuple[int, int, Image] | None = None
        self._asked: int | None = None
        self._last_decoded = NO_PACKET
        self._restarted_at: int | None = None
        self._last_out: int | None = None
        self._given = self._missed = 0
        self.ended = False
        self.first = 0
        self.lost = False

    @property
    def end(self) -> int | None:
        """The tick at which the last picture leaves the screen."""
        ends = (self._pass.end, self._refetcher.end if self._refetcher else None)
        return max((end for end in ends if end is not None), default=None)

    @property
    def damaged(self) -> int:
        """Packets that could not be decoded."""
        return max(self._pass.stats.damaged, self._refetcher.damaged if self._refetcher else 0)

    def begin(self) -> DisplayClock:
        """Decode until the first picture comes out; it says where the clock starts.

        Raises:
            VideoError: Nothing in the file can be decoded.
        """
        first = self._first_picture()
        pts = None if first is None else first.pts
        if pts is None:
            self._planner.lost = True
            shown = self._second_pass(0).start()
            if shown is None:
                raise self._pass.no_pictures()
            pts = shown.pts
        self.first = pts
        self._planner.forget_before(pts)
        time_base = self._pass.timestamps.time_base
        self._clock = DisplayClock.starting(self._pass.container, pts, time_base)
        return self._clock

    def frames(self, targets: Iterator[Fraction]) -> Iterator[Frame]:
        """The frame on screen at each of some ascending instants, up to the video's end."""
        clock = self.begin() if self._clock is None else self._clock
        refetcher = self._second_pass(clock.tick(Fraction(0)))
        try:
            for target in targets:
                if not self._plans(clock.tick(target)):
                    yield from self._in_order(chain([target], targets), clock, refetcher)
                    return
                if not self._request(target, clock.tick(target)):
                    self.ended = True
                    break
                if self._planner.lost:
                    # What is still waiting was chosen by times that proved false.
                    doubtful = [sample.target for sample in self._waiting]
                    self._waiting.clear()
                    yield from self._in_order(chain(doubtful, targets), clock, refetcher)
                    return
                yield from self._ready(clock, refetcher)
            self._drain()
            yield from self._ready(clock, refetcher)
        finally:
            refetcher.close()

    def finish(self) -> None:
        """Read the rest of the file without decoding it, so that ``duration`` is the video's."""
        for _ in self._packets:
            pass

    def _second_pass(self, first: int) -> Refetcher:
        if self._refetcher is None:
            timeline = self._pass.timestamps
            self._refetcher = Refetcher(
                self._pass.source,
                self._options,
                first=first,
                time_base=timeline.time_base,
                may_seek=lambda: self._pass.plannable and not timeline.repeats,
            )
        return self._refetcher

    def _first_picture(self) -> av.VideoFrame | None:
        for timed in self._packets:
            self._planner.observe(timed)
            if pictures := self._decode(timed, wanted=True):
                break
        else:
            self._planner.ended = True
            pictures = self._pass.decode(None)
        self._arrive(pictures)
        return pictures[0] if pictures else None

    def _plans(self, tick: int) -> bool:
        """Read until the packet for a tick is known; False where planning has to be given up."""
        while not self._planner.decided(tick):
            step = self._planner.read(tick)
            if step is not None:
                self._perform(step)
        costly = self._missed > _TOLERATED_MISSES and self._missed * _COSTLY_SHARE > self._given
        return self._pass.plannable and not self._planner.lost and not costly

    def _request(self, target: Fraction, tick: int) -> bool:
        """Decode what an instant needs; False past the video's end."""
        chosen = self._planner.choose(tick)
        if chosen is None or chosen.pts is None:
            return False
        if self._planner.ended and target and float(target) >= self.duration:
            return False
        sample = _Sample(target, tick, chosen.number, chosen.pts)
        self._waiting.append(sample)
        self._asked = chosen.pts
        for index, picture in self._recent:
            if index == chosen.number:
                sample.image = self._scale(index, picture)
        if chosen.number > self._last_decoded:
            self._perform(self._planner.need(chosen))
        # Packets before the place where reading began, or that were dropped, never come.
        sample.missing = chosen.number > self._last_decoded or (self._midway and chosen.pts > tick)
        return True

    def _perform(self, step: DecodeStep) -> None:
        if step.restart:
            self._drain(before=step.packets[0].number)
            self._pass.restart()
            self._restarted_at = step.packets[0].pts
        for timed in step.packets:
            wanted = any(sample.number == timed.number for sample in self._waiting)
            self._arrive(self._decode(timed, wanted=wanted))

    def _decode(self, timed: TimedPacket, *, wanted: bool) -> list[av.VideoFrame]:
        self._last_decoded = timed.number
        unneeded = self._pass.bitstream.unreferenced(timed.packet) and not wanted
        if unneeded:
            return []
        if self._skip_mode is SkipMode.SKIP:
            self._pass.skip_unreferenced(not wanted)
        # Pictures shown before a restart refer to some from before it: open groups of pictures.
        return self._pass.decode(timed.packet, tolerate=self._leads(timed.pts))

    def _arrive(self, pictures: list[av.VideoFrame]) -> None:
        """Match what comes out to what is waited for."""
        for picture in pictures:
            index = self._index(picture)
            self._check_order(picture)
            if picture.pts is None or self._asked is None or picture.pts >= self._asked:
                # Instants ascend: what came on screen before the last one is not asked for again.
                self._recent.append((index, picture))
            for sample in self._waiting:
                if sample.image is not None:
                    continue
                if sample.number == index and not picture.is_corrupt:
                    sample.image = self._scale(index, picture)
                elif picture.pts is not None and sample.pts < picture.pts:
                    # Pictures come out in the order they are shown: this one was left out.
                    sample.missing = True

    def _check_order(self, picture: av.VideoFrame) -> None:
        """Pictures come out in the order they are shown, or their times are worth nothing."""
        if self._leads(picture.pts):
            return
        if picture.pts is None or (self._last_out is not None and picture.pts < self._last_out):
            self._planner.lost = True
        self._last_out = picture.pts

    def _leads(self, pts: int | None) -> bool:
        """Whether a picture comes on screen before the place where decoding restarted."""
        return pts is not None and self._restarted_at is not None and pts < self._restarted_at

    def _index(self, picture: av.VideoFrame) -> int:
        """Which packet a picture came from."""
        mark = cast("tuple[int, ...] | None", picture.opaque)
        if mark is not None and mark[0] != NO_PACKET:
            return mark[0]
        return next(
            (sample.number for sample in self._waiting if sample.pts == picture.pts), NO_PACKET
        )

    def _drain(self, before: int | None = None) -> None:
        """Take out all that the decoder still holds; what is then missing never comes."""
        self._arrive(self._pass.decode(None))
        for sample in self._waiting:
            if before is None or sample.number < before:
                sample.missing = True

    def _ready(self, clock: DisplayClock, refetcher: Refetcher) -> Iterator[Frame]:
        """The samples, in order, whose frames are there or have to be fetched again."""
        while self._waiting and (self._waiting[0].image is not None or self._waiting[0].missing):
            sample = self._waiting.popleft()
            self._given += 1
            image, pts = sample.image, sample.pts
            if image is None:
                self._missed += 1
                fetched = self._fetch_again(sample, refetcher)
                if fetched is None:
                    continue
                pts, image = fetched
            yield Frame(image, clock.seconds(pts), float(sample.target))

    def _fetch_again(self, sample: _Sample, refetcher: Refetcher) -> tuple[int, Image] | None:
        """Time and image of a picture that did not come out; one that is held is fetched once."""
        held = self._fetched is not None and self._fetched[0] == sample.number
        if not held or sample.pts > sample.tick:
            shown = refetcher.at(sample.tick)
            if shown is None:
                return None
            self._fetched = sample.number, shown.pts, self._shown_image(shown)
        return None if self._fetched is None else self._fetched[1:]

    def _in_order(
        self, targets: Iterator[Fraction], clock: DisplayClock, refetcher: Refetcher
    ) -> Iterator[Frame]:
        """Stop planning, and decode the rest in order."""
        self._drain()
        yield from self._ready(clock, refetcher)
        if self._planner.lost and self._midway:
            self.lost = True
            return
        if self._planner.lost:
            refetcher.start()
        last: Shown | None = None
        image: Image | None = None
        for target in targets:
            shown = refetcher.at(clock.tick(target), onwards=True)
            if shown is None or (refetcher.ended and target and float(target) >= self.duration):
                self.ended = True
                break
            if image is None or shown is not last:
                image, last = self._shown_image(shown), shown
            yield Frame(image, clock.seconds(shown.pts), float(target))
        refetcher.finish()

    def _shown_image(self, shown: Shown) -> Image:
        return self._scaler.scale(shown.picture, self._pass.geometry(shown.picture))

    def _scale(self, index: int, picture: av.VideoFrame) -> Image:
        if self._scaled is None or self._scaled[0] != index:
            self._scaled = index, self._scaler.scale(picture, self._pass.geometry(picture))
        return self._scaled[1]
