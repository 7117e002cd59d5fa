"""Decode what the wanted instants need, and nothing else; the same frames as decoding it all."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from typing import TYPE_CHECKING, cast

from vtloc_runtime.video.codecs.random_access import Thrift
from vtloc_runtime.video.demux import NO_PACKET
from vtloc_runtime.video.frame import Frame, Image
from vtloc_runtime.video.picture.scaling import PictureScaler
from vtloc_runtime.video.sampling.packet_planner import PacketPlanner
from vtloc_runtime.video.sampling.refetch import Recovery
from vtloc_runtime.video.timestamps import ShownClock

if TYPE_CHECKING:
    from collections.abc import Iterator

    import av

    from vtloc_runtime.video.demux import StreamPass, TimedPacket
    from vtloc_runtime.video.options import VideoOptions
    from vtloc_runtime.video.sampling.packet_planner import Order
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


class NeededDecode:
    """Samples one pass with a planner ahead of the decoder.

    Args:
        stream_pass: The pass, at its start.
        options: What to sample.
        clock: The video's clock, where the pass begins in the middle of the file.

    Attributes:
        ended: Whether an instant lay past the video's end.
        lost: Whether packets' times in this part of the file allow no planning.
    """

    def __init__(
        self, stream_pass: StreamPass, options: VideoOptions, clock: ShownClock | None = None
    ) -> None:
        self._pass = stream_pass
        self._options = options
        self._scaler = PictureScaler(options.preprocessing)
        self._packets = stream_pass.packets()
        self._midway = clock is not None
        self._planner = PacketPlanner(self._packets, midway=self._midway)
        self._thrift = stream_pass.bitstream.thrift
        self._clock = clock
        self._recovery: Recovery | None = None
        self._waiting: deque[_Sample] = deque()
        self._recent: deque[tuple[int, av.VideoFrame]] = deque(maxlen=_REMEMBERED_PICTURES)
        self._scaled: tuple[int, Image] | None = None
        self._asked: int | None = None
        self._fed = NO_PACKET
        self._restarted_at: int | None = None
        self._last_out: int | None = None
        self._given = self._missed = 0
        self.ended = False
        self.lost = False

    @property
    def end(self) -> int | None:
        """The tick at which the last picture leaves the screen."""
        ends = (self._pass.end, self._recovery.end if self._recovery else None)
        return max((one for one in ends if one is not None), default=None)

    @property
    def duration(self) -> float:
        """When the last picture leaves the screen, seconds on the shown clock."""
        end = self.end
        return 0.0 if self._clock is None or end is None else self._clock.seconds(end)

    @property
    def damaged(self) -> int:
        """Packets that could not be decoded."""
        return max(self._pass.toll.damaged, self._recovery.damaged if self._recovery else 0)

    def begin(self) -> ShownClock:
        """Decode until the first picture comes out; it says where the clock starts.

        Raises:
            VideoError: Nothing in the file can be decoded.
        """
        first = self._first_picture()
        pts = None if first is None else first.pts
        if pts is None:
            self._planner.lost = True
            shown = self._recover(0).start()
            if shown is None:
                raise self._pass.no_pictures()
            pts = shown.pts
        self._planner.forget_before(pts)
        time_base = self._pass.timeline.time_base
        self._clock = ShownClock.starting(self._pass.container, pts, time_base)
        return self._clock

    def frames(self, targets: Iterator[Fraction]) -> Iterator[Frame]:
        """The frame on screen at each of some ascending instants, up to the video's end."""
        clock = self.begin() if self._clock is None else self._clock
        recovery = self._recover(clock.tick(Fraction(0)))
        try:
            for target in targets:
                if not self._plans(clock.tick(target)):
                    yield from self._in_order(chain([target], targets), clock, recovery)
                    return
                if not self._request(target, clock.tick(target)):
                    self.ended = True
                    break
                if self._planner.lost:
                    # What is still waiting was chosen by times that proved false.
                    doubtful = [sample.target for sample in self._waiting]
                    self._waiting.clear()
                    yield from self._in_order(chain(doubtful, targets), clock, recovery)
                    return
                yield from self._ready(clock, recovery)
            self._drain()
            yield from self._ready(clock, recovery)
        finally:
            recovery.close()

    def close(self) -> None:
        """Nothing to give back: the pass belongs to the caller."""

    def finish(self) -> None:
        """Read the rest of the file without decoding it, so that ``duration`` is the video's."""
        for _ in self._packets:
            pass

    def _recover(self, first: int) -> Recovery:
        if self._recovery is None:
            timeline = self._pass.timeline
            self._recovery = Recovery(
                self._pass.source,
                self._options,
                first=first,
                time_base=timeline.time_base,
                may_seek=lambda: self._pass.plannable and not timeline.repeats,
            )
        return self._recovery

    def _first_picture(self) -> av.VideoFrame | None:
        for timed in self._packets:
            self._planner.witness(timed)
            if pictures := self._feed(timed, wanted=True):
                break
        else:
            self._planner.ended = True
            pictures = self._pass.decode(None)
        self._arrive(pictures)
        return pictures[0] if pictures else None

    def _plans(self, tick: int) -> bool:
        """Read until the packet for a tick is known; False where planning has to be given up."""
        while not self._planner.decided(tick):
            order = self._planner.read(tick)
            if order is not None:
                self._follow(order)
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
        if chosen.number > self._fed:
            self._follow(self._planner.need(chosen))
        # Packets before the place where reading began, or that were dropped, never come.
        sample.missing = chosen.number > self._fed or (self._midway and chosen.pts > tick)
        return True

    def _follow(self, order: Order) -> None:
        if order.restart:
            self._drain(before=order.packets[0].number)
            self._pass.restart()
            self._restarted_at = order.packets[0].pts
        for timed in order.packets:
            wanted = any(sample.number == timed.number for sample in self._waiting)
            self._arrive(self._feed(timed, wanted=wanted))

    def _feed(self, timed: TimedPacket, *, wanted: bool) -> list[av.VideoFrame]:
        self._fed = timed.number
        unneeded = self._pass.bitstream.unreferenced(timed.packet) and not wanted
        if unneeded:
            return []
        if self._thrift is Thrift.SKIP:
            self._pass.skip_unreferenced(not wanted)
        # Pictures shown before a restart refer to some from before it: open groups of pictures.
        return self._pass.decode(timed.packet, forgive=self._leads(timed.pts))

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
        return next((one.number for one in self._waiting if one.pts == picture.pts), NO_PACKET)

    def _drain(self, before: int | None = None) -> None:
        """Take out all that the decoder still holds; what is then missing never comes."""
        self._arrive(self._pass.decode(None))
        for sample in self._waiting:
            if before is None or sample.number < before:
                sample.missing = True

    def _ready(self, clock: ShownClock, recovery: Recovery) -> Iterator[Frame]:
        """The samples, in order, whose frames are there or have to be fetched again."""
        while self._waiting and (self._waiting[0].image is not None or self._waiting[0].missing):
            sample = self._waiting.popleft()
            self._given += 1
            image, pts = sample.image, sample.pts
            if image is None:
                self._missed += 1
                shown = recovery.at(sample.tick)
                if shown is None:
                    continue
                image, pts = self._shown_image(shown), shown.pts
            yield Frame(image, clock.seconds(pts), float(sample.target))

    def _in_order(
        self, targets: Iterator[Fraction], clock: ShownClock, recovery: Recovery
    ) -> Iterator[Frame]:
        """Give up planning: decode all the rest in order."""
        self._drain()
        yield from self._ready(clock, recovery)
        if self._planner.lost and self._midway:
            self.lost = True
            return
        if self._planner.lost:
            recovery.start()
        last: Shown | None = None
        image: Image | None = None
        for target in targets:
            shown = recovery.at(clock.tick(target), onwards=True)
            if shown is None or (recovery.ended and target and float(target) >= self.duration):
                self.ended = True
                break
            if image is None or shown is not last:
                image, last = self._shown_image(shown), shown
            yield Frame(image, clock.seconds(shown.pts), float(target))
        recovery.finish()

    def _shown_image(self, shown: Shown) -> Image:
        return self._scaler.scale(shown.picture, self._pass.geometry(shown.picture))

    def _scale(self, index: int, picture: av.VideoFrame) -> Image:
        if self._scaled is None or self._scaled[0] != index:
            self._scaled = index, self._scaler.scale(picture, self._pass.geometry(picture))
        return self._scaled[1]
