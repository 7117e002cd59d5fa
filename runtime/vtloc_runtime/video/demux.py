"""One pass over a video: the chosen stream's packets in file order, and its decoder."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple, cast

import av
from av.stream import Disposition

from vtloc_runtime.errors import VideoError
from vtloc_runtime.video.codecs.random_access import Bitstream
from vtloc_runtime.video.decoders.choice import open_decoder
from vtloc_runtime.video.timestamps import Timeline

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream

    from vtloc_runtime.video.options import VideoOptions
    from vtloc_runtime.video.source import Source

_MOST_READ_ERRORS = 64
_WORTH_SAYING = 1.0
_FREE_PIXELS = 1_500_000_000
_INDEXED_FORMATS = {"mp4", "mov", "matroska", "webm"}


class TimedPacket(NamedTuple):
    """A packet whose times run on through the file.

    Attributes:
        number: Its place in this pass.
        pts: When its picture comes on screen, ticks; None where the file does not say.
        dts: When it is decoded, ticks; None where the file does not say.
        start: Whether decoding can start here, and shows this and all after it rightly.
        shown: Whether its picture is to be shown; edit lists cut some.
        packet: The packet itself.
    """

    number: int
    pts: int | None
    dts: int | None
    start: bool
    shown: bool
    packet: Packet[VideoStream]


@dataclass(slots=True)
class Toll:
    """What a pass came across.

    Attributes:
        damaged: Packets that could not be decoded.
        unreadable: Places where the container itself could not be read.
        corrupt: Packets that the container marks as incomplete.
    """

    damaged: int = 0
    unreadable: int = 0
    corrupt: int = 0


class StreamPass:
    """One open container, read once from a place on.

    Attributes:
        toll: What was met on the way.
        end: The tick at which the last picture leaves the screen, as far as it was read.
        untimed: Packets without a presentation time.

    Raises:
        VideoError: The source is no video, or holds no picture stream that can be decoded.
    """

    def __init__(self, source: Source, options: VideoOptions) -> None:
        self.source = source
        self.toll = Toll()
        self._limits = options.limits
        self._decoding_seconds = 0.0
        self._pixels = 0
        size = source.size
        self._most_pixels = (
            math.inf if size is None else _FREE_PIXELS + options.limits.expansion * size
        )
        self.container = source.open()
        try:
            self.stream = self._choose(options.stream)
            context = self.stream.codec_context
            if context.width and context.height:
                self._check_picture(context.width, context.height)
        except BaseException:
            self.container.close()
            raise
        self.timeline = Timeline(self.container, self.stream)
        self.end: int | None = None
        self.untimed = 0
        self._first: int | None = None
        self._most_ticks = options.limits.seconds / float(self.time_base)
        context = self.stream.codec_context
        self.bitstream = Bitstream(context)
        context.options = {"max_pixels": str(options.limits.pixels)}
        context.thread_count = 1
        context.copy_opaque = True
        try:
            self._decoder = open_decoder(self.stream, options.decoder, where=source.name)
        except BaseException:
            self.container.close()
            raise

    @property
    def aspect(self) -> Fraction:
        """Width of a pixel over its height, 1 where the file does not say."""
        aspect = self.stream.sample_aspect_ratio
        return Fraction(aspect) if aspect else Fraction(1)

    @property
    def plannable(self) -> bool:
        """Whether packets can be left out: keyframes restart, and packets are one picture each."""
        # AVI holds no presentation times, and its MPEG-4 packs two pictures into one packet.
        packed = self.container.format.name == "avi" and self.bitstream.codec == "mpeg4"
        return self.bitstream.restartable and not packed

    @property
    def seeks_exactly(self) -> bool:
        """Whether an index of keyframes lets parts of the file be read on their own."""
        indexed = _INDEXED_FORMATS & set(self.container.format.name.split(","))
        return self.plannable and bool(indexed)

    def indexed_keyframes(self) -> list[int]:
        """Decode times of the keyframes that the file's index names, ticks; often none."""
        return [one.timestamp for one in self.stream.index_entries if one.is_keyframe]

    def packets(self) -> Iterator[TimedPacket]:
        """Every packet of the stream that holds data, in file order."""
        timeline, toll, starts_here = self.timeline, self.toll, self.bitstream.starts_here
        for number, packet in enumerate(self._read()):
            timeline.straighten(packet)
            packet.opaque = (number,)
            pts, dts, shown = packet.pts, packet.dts, not packet.is_discard
            if packet.is_corrupt:
                toll.corrupt += 1
            if shown:
                self._note_end(pts, dts)
            start = packet.is_keyframe and starts_here(packet)
            yield TimedPacket(number, pts, dts, start, shown, packet)

    def decode(
        self, packet: Packet[VideoStream] | None, *, forgive: bool = False
    ) -> list[av.VideoFrame]:
        """Pictures that come out on this packet; None asks for all that are still inside.

        Args:
            packet: What to decode.
            forgive: The packet refers to pictures that were left out, so failing is no damage.
        """
        begun = time.monotonic()
        try:
            pictures = self._decoder.decode(packet)
        except (av.error.EOFError, av.error.BlockingIOError):
            return []
        except (av.FFmpegError, ValueError, MemoryError):
            self.toll.damaged += not forgive
            return []
        finally:
            self._decoding_seconds += time.monotonic() - begun
        if self._decoding_seconds > self._limits.decoding_seconds:
            raise VideoError(
                f"takes more than {self._limits.decoding_seconds:g} s to decode",
                where=self.source.name,
                remedy="Raise Limits.decoding_seconds if it is worth the time",
            )
        for picture in pictures:
            self._check_picture(picture.width, picture.height)
            self._pixels += picture.width * picture.height
        if self._pixels > self._most_pixels:
            raise VideoError(
                "shows far more pixels than so small a file can hold",
                where=self.source.name,
                remedy="Raise Limits.expansion if the video is meant to be like that",
            )
        return pictures

    def skip_unreferenced(self, skip: bool) -> None:
        """Tell the decoder whether pictures that nothing refers to may be left out from now on."""
        self._decoder.skip_unreferenced(skip)

    def restart(self) -> None:
        """Make the decoder forget every picture; the next packet must be a start."""
        self._decoder.restart()

    def seek(self, tick: int) -> bool:
        """Go to the keyframe before a tick; whether the file could."""
        try:
            self.container.seek(tick, stream=self.stream)
        except (av.FFmpegError, OSError, ValueError, OverflowError):
            return False
        self._decoder.restart()
        return True

    def warnings(self, damaged: int, end: int | None) -> tuple[str, ...]:
        """What whoever uses the pictures should know, once the file was read.

        Args:
            damaged: Packets that could not be decoded.
            end: The tick at which the last picture leaves the screen.
        """
        found = []
        if damaged:
            found.append(f"{damaged} damaged packets were passed over")
        if self.toll.unreadable:
            found.append("parts of the file cannot be read")
        if self.toll.corrupt:
            found.append(f"{self.toll.corrupt} packets are incomplete")
        missing = self._missing_seconds(end)
        if missing is not None:
            found.append(f"the pictures end {missing:.1f} s before the file says")
        return tuple(found)

    def _missing_seconds(self, end: int | None) -> float | None:
        """How much less there was than the header promised, if that is worth saying."""
        container_duration = self.container.duration
        if end is None:
            return None
        if self.stream.duration:
            promised = ((self.stream.start_time or 0) + self.stream.duration) * self.time_base
        elif container_duration:
            start = cast("int | None", self.container.start_time) or 0
            promised = Fraction(start + container_duration, 1_000_000)
        else:
            return None
        missing = float(promised - end * self.time_base)
        return missing if missing > _WORTH_SAYING else None

    @property
    def time_base(self) -> Fraction:
        """Seconds in a tick."""
        return self.timeline.time_base

    def close(self) -> None:
        """Close the container, and let go of the pictures inside the decoder."""
        self._decoder.close()
        self.container.close()

    def _read(self) -> Iterator[Packet[VideoStream]]:
        errors = 0
        while errors < _MOST_READ_ERRORS:
            try:
                for packet in self.container.demux(self.stream):
                    if packet.size:
                        errors = 0
                        yield packet
            except (av.FFmpegError, OSError, ValueError) as error:
                if self.source.remote:
                    raise VideoError(f"stopped coming ({error})", where=self.source.name) from error
                errors += 1
                self.toll.unreadable += 1
            else:
                return

    def _note_end(self, pts: int | None, dts: int | None) -> None:
        if pts is None:
            self.untimed += 1
            if dts is None:
                return
        begin = dts or 0 if pts is None else pts
        self._hold_length(begin)
        end = begin + self.timeline.step
        if self.end is None or end > self.end:
            self.end = end

    def _hold_length(self, tick: int) -> None:
        """Refuse a video as soon as a packet shows it to be longer than it may."""
        if self._first is None:
            self._first = tick
        if tick - self._first > self._most_ticks:
            raise VideoError(
                f"lasts longer than {self._limits.seconds:g} s",
                where=self.source.name,
                remedy="Raise the limit with --max-duration, or Limits.seconds, "
                "if the video is meant to be that long",
            )

    def _choose(self, wanted: int | None) -> VideoStream:
        streams = self.container.streams.video
        if not streams:
            raise VideoError("holds no video stream", where=self.source.name)
        if wanted is not None:
            if wanted >= len(streams):
                raise VideoError(
                    f"has {len(streams)} video streams; stream {wanted} is not among them",
                    where=self.source.name,
                )
            chosen = streams[wanted]
        else:
            chosen = max(streams, key=_preference)
        if cast("VideoCodecContext | None", chosen.codec_context) is None:
            raise VideoError("is in a format without a decoder here", where=self.source.name)
        return chosen

    def _check_picture(self, width: int, height: int) -> None:
        """Refuse pictures too small to show anything or too large to be meant."""
        smallest, most = self._limits.smallest_side, self._limits.pixels
        if min(width, height) < smallest:
            raise VideoError(
                f"has pictures of {width}x{height} pixels; below {smallest} there is nothing "
                "to see",
                where=self.source.name,
            )
        if width * height > most:
            raise VideoError(
                f"has pictures of {width}x{height} pixels, more than the limit of {most}",
                where=self.source.name,
                remedy="Raise Limits.pixels if the video is meant to be that large",
            )


def _preference(stream: VideoStream) -> tuple[bool, bool, bool, int, int]:
    """What a player goes by: real video before cover art, the default stream, then the size."""
    context = cast("VideoCodecContext | None", stream.codec_context)
    disposition = stream.disposition
    return (
        context is not None,
        not disposition & (Disposition.attached_pic | Disposition.timed_thumbnails),
        bool(disposition & Disposition.default),
        context.width * context.height if context is not None else 0,
        -stream.index,
    )
