"""One pass over a video: the packets of one stream in file order, and their decoder."""

from __future__ import annotations

import time
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, cast

import av

from vtloc_runtime.errors import VideoError
from vtloc_runtime.video.codecs.random_access import Bitstream
from vtloc_runtime.video.containers.avi import trailing_repeats
from vtloc_runtime.video.decoders.choice import open_decoder
from vtloc_runtime.video.demuxing.completeness import another_follows, missing_seconds
from vtloc_runtime.video.demuxing.decode_budget import DecodeBudget
from vtloc_runtime.video.demuxing.diagnosis import cause_of_no_pictures
from vtloc_runtime.video.demuxing.packets import NO_PACKET, DecodeStats, PictureMark, TimedPacket
from vtloc_runtime.video.demuxing.stream_choice import choose_stream
from vtloc_runtime.video.demuxing.timestamps import TimestampUnwrapper
from vtloc_runtime.video.picture.orientation import Geometry, OrientationTracker

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.stream import VideoStream

    from vtloc_runtime.video.decoders.nvdec.session import DevicePicture
    from vtloc_runtime.video.demuxing.source import Source
    from vtloc_runtime.video.options import VideoOptions

_MOST_READ_ERRORS = 64
_INDEXED_FORMATS = {"mp4", "mov", "matroska", "webm"}
_JPEG = "jpeg_pipe"
_SMALLEST_SIDE = 8
_CERTAIN_PACKETS = 3


class DemuxPass:
    """An open container that is read once, from a given position.

    Attributes:
        stats: What went wrong on the way.
        end: The tick at which the last picture leaves the screen, as far as it was read.
        untimed: Packets without a presentation time.

    Raises:
        VideoError: The source is not a video, has no video stream that can be decoded, or is beyond
            the limits.
    """

    def __init__(self, source: Source, options: VideoOptions) -> None:
        self.source = source
        self.stats = DecodeStats()
        self._limits = options.limits
        self._rate = options.rate if options.instants is None else None
        self._decoding_seconds = 0.0
        self.container = source.open()
        try:
            self.stream = choose_stream(self.container, options.stream, source)
            context = self.stream.codec_context
            codec = context.codec.canonical_name
            self._budget = DecodeBudget(codec, options.limits.pixels, where=source.name)
            if context.width and context.height:
                self._check_picture(context.width, context.height)
        except BaseException:
            self.container.close()
            raise
        self.timestamps = TimestampUnwrapper(self.container, self.stream)
        self.end: int | None = None
        self.untimed = 0
        self._read_to = 0
        self._origin = self._container_start()
        self._equal_times: int | None = 0
        context = self.stream.codec_context
        self._reorders = bool(context.has_b_frames)
        self.bitstream = Bitstream(context)
        self._orientations = OrientationTracker(self.bitstream.codec)
        context.options = {"max_pixels": str(options.limits.pixels)}
        if self.container.format.name == _JPEG:
            # Else FFmpeg fills in what a file lacks that was cut off; other pictures it refuses.
            context.options |= {"err_detect": "explode"}
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
    def period(self) -> float:
        """Seconds from one picture to the next as the header says, on average; 0: unknown."""
        rate = self.stream.average_rate
        return 1 / float(rate) if rate else 0.0

    @property
    def plannable(self) -> bool:
        """Whether packets can be left out: keyframes restart, and packets are one picture each."""
        # AVI holds no presentation times, and its MPEG-4 packs two pictures into one packet.
        packed = self._is_avi and self.bitstream.codec == "mpeg4"
        return self.bitstream.restartable and not packed and not self.times_in_decode_order

    @property
    def times_in_decode_order(self) -> bool:
        """Whether presentation times only number the packets, though pictures are reordered.

        Files that lost their table of time offsets are such; their times have to be sorted.
        """
        equal = self._equal_times
        return self._reorders and equal is not None and equal >= _CERTAIN_PACKETS

    @property
    def _is_avi(self) -> bool:
        return self.container.format.name == "avi"

    @property
    def seeks_exactly(self) -> bool:
        """Whether an index of keyframes lets parts of the file be read on their own."""
        names = set(self.container.format.name.split(","))
        glued = self.source.mp4 is not None and self.source.mp4.recordings > 1
        # A live recording in Matroska has no index, and may hold several, one after another.
        unindexed = "matroska" in names and not self.stream.index_entries
        return self.plannable and bool(_INDEXED_FORMATS & names) and not glued and not unindexed

    def indexed_keyframes(self) -> list[int]:
        """Decode times of the keyframes that the file's index names, ticks; often none."""
        return [entry.timestamp for entry in self.stream.index_entries if entry.is_keyframe]

    def indexed_packets(self) -> Iterator[tuple[int, int, bool]]:
        """Decode time, size and whether it is a keyframe of each packet that the index names.

        The index of an MP4 or QuickTime file names all of them, those of others keyframes alone.
        """
        for entry in self.stream.index_entries:
            yield entry.timestamp, entry.size, entry.is_keyframe

    def packets(self) -> Iterator[TimedPacket]:
        """Every packet of the stream that holds data, in file order."""
        timeline, stats, starts_here = self.timestamps, self.stats, self.bitstream.starts_here
        number = -1
        for packet in self._read():
            timeline.unwrap(packet)
            pts, dts, shown = packet.pts, packet.dts, not packet.is_discard
            if not packet.size:
                # An empty packet repeats the picture before it.
                if pts is not None:
                    self._note_end(pts, dts)
                continue
            number += 1
            packet.opaque = (number,)
            if packet.is_corrupt:
                stats.corrupt += 1
            if shown:
                self._note_end(pts, dts)
                self._note_order(pts, dts)
            start = packet.is_keyframe and starts_here(packet)
            yield TimedPacket(number, pts, dts, start, shown, packet)
        if self._is_avi and self.end is not None and not self.stats.unreadable:
            source = self.source
            repeats = trailing_repeats(source.read_at, source.size, self.stream.index)
            self.end += repeats * timeline.step
            self._check_length(self.end)

    def decode(
        self, packet: Packet[VideoStream] | None, *, tolerate: bool = False
    ) -> list[av.VideoFrame]:
        """Decode a packet and return the pictures that are ready; None flushes the decoder.

        Args:
            packet: What to decode.
            tolerate: The packet refers to pictures that were left out, so a failure is not damage.
        """
        if packet is not None:
            self._budget.pay(packet.size, (packet.duration or 0) * float(self.time_base))
        begun = time.monotonic()
        try:
            pictures = self._decoder.decode(packet)
        except (av.error.EOFError, av.error.BlockingIOError):
            return []
        except (av.FFmpegError, ValueError, MemoryError):
            self.stats.damaged += not tolerate
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
            self._take(picture)
        return pictures

    def geometry(self, picture: av.VideoFrame) -> Geometry:
        """The shape on screen of a picture that this pass decoded."""
        mark: object = picture.opaque
        return mark.geometry if isinstance(mark, PictureMark) else Geometry(self.aspect)

    def _take(self, picture: av.VideoFrame | DevicePicture) -> None:
        """Check a picture, and note what it was shown as when it came out."""
        aspect, pixel_format = self.aspect, None
        if isinstance(picture, av.VideoFrame):
            pixel_format = picture.format
            orientation = self._orientations.of_next(picture)
            if picture.interlaced_frame and self.bitstream.codec == "hevc":
                # HEVC stores each field as a picture of half the height.
                aspect /= 2
        else:
            orientation = picture.picture_format.orientation
        self._check_picture(picture.width, picture.height)
        self._budget.spend(picture.width, picture.height, pixel_format)
        mark = cast("tuple[int] | None", picture.opaque)
        number = mark[0] if mark is not None else NO_PACKET
        picture.opaque = PictureMark(number, Geometry(aspect, orientation))

    def no_pictures(self) -> VideoError:
        """The error to raise where nothing could be decoded."""
        cause = cause_of_no_pictures(self.source.read_at)
        return VideoError(cause.what, where=self.source.name, remedy=cause.remedy)

    def skip_unreferenced(self, skip: bool) -> None:
        """Tell the decoder whether pictures that nothing refers to may be left out from now on."""
        self._decoder.skip_unreferenced(skip)

    def restart(self) -> None:
        """Flush the decoder; the next packet must be a place where decoding can start."""
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
        """Warnings for the user; complete once the file was read.

        Args:
            damaged: Packets that could not be decoded.
            end: The tick at which the last picture leaves the screen; None where the file was not
                read to its end.
        """
        warnings = []
        if damaged:
            many = "packets were" if damaged > 1 else "packet was"
            warnings.append(f"{damaged} damaged {many} passed over")
        if self.stats.unreadable:
            warnings.append("parts of the file cannot be read")
        if self.stats.corrupt:
            many = "packets are" if self.stats.corrupt > 1 else "packet is"
            warnings.append(f"{self.stats.corrupt} {many} incomplete")
        if end is not None:
            if another_follows(self.source, self._read_to):
                warnings.append("another recording follows in the file and was not read")
            missing = missing_seconds(self.container, self.stream, end * self.time_base)
            if missing is not None:
                warnings.append(f"the pictures end {missing:.1f} s before the file says")
        return tuple(warnings)

    @property
    def time_base(self) -> Fraction:
        """Seconds in a tick."""
        return self.timestamps.time_base

    def close(self) -> None:
        """Close the container, and let go of the pictures inside the decoder."""
        self._decoder.close()
        self.container.close()

    def _read(self) -> Iterator[Packet[VideoStream]]:
        errors = 0
        while errors < _MOST_READ_ERRORS:
            try:
                for packet in self.container.demux(self.stream):
                    errors = 0
                    if packet.pos is not None:
                        self._read_to = max(self._read_to, packet.pos + packet.size)
                    yield packet
            except IndexError:
                # The demuxer has taken its streams back.
                self.stats.unreadable += 1
                return
            except (av.FFmpegError, OSError, ValueError) as error:
                if self.source.remote:
                    raise VideoError(
                        f"connection lost ({error})",
                        where=self.source.name,
                        remedy="Try again, or download the video first",
                    ) from error
                errors += 1
                self.stats.unreadable += 1
            else:
                return

    def _note_end(self, pts: int | None, dts: int | None) -> None:
        if pts is None:
            self.untimed += 1
            if dts is None:
                return
        shown = dts or 0 if pts is None else pts
        end = shown + self.timestamps.step
        if self.end is None or end > self.end:
            self._check_length(shown)
            self.end = end

    def _check_length(self, tick: int) -> None:
        """Refuse the video as soon as one timestamp lies beyond the limits.

        The time up to there is then never sampled.
        """
        if self._origin is None or tick < self._origin:
            self._origin = tick
        seconds = (tick - self._origin) * self.time_base
        limits = self._limits
        if seconds > limits.seconds:
            raise VideoError(
                f"lasts longer than {limits.seconds:g} s",
                where=self.source.name,
                remedy="Raise the limit with --max-duration, or Limits.seconds, "
                "if the video is meant to be that long",
            )
        if self._rate is not None and seconds * self._rate > limits.frames:
            raise VideoError(
                f"gives more than {limits.frames} frames",
                where=self.source.name,
                remedy="Sample fewer frames per second, or raise Limits.frames",
            )

    def _note_order(self, pts: int | None, dts: int | None) -> None:
        if self._equal_times is not None:
            equal = pts is not None and pts == dts
            self._equal_times = self._equal_times + 1 if equal else None

    def _container_start(self) -> int | None:
        start = cast("int | None", self.container.start_time)
        return None if start is None else self.timestamps.ticks(Fraction(start, 1_000_000))

    def _check_picture(self, width: int, height: int) -> None:
        """Refuse pictures below the smallest side or above the limit of pixels."""
        if min(width, height) < _SMALLEST_SIDE:
            raise VideoError(
                f"has pictures of {width}x{height} pixels; each side must have at least "
                f"{_SMALLEST_SIDE}",
                where=self.source.name,
                remedy="Use a larger video",
            )
        self._budget.check(width, height)
