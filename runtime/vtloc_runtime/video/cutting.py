"""Cuts a clip out of a film: by copying its packets, or exactly, by encoding it again."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, cast

from vtloc_runtime.errors import VideoError
from vtloc_runtime.video.demuxing.stream_choice import choose_stream
from vtloc_runtime.video.demuxing.timestamps import DisplayClock
from vtloc_runtime.video.options import VideoOptions

if TYPE_CHECKING:
    import av
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

    from vtloc_runtime.video.demuxing.source import Source

Muxer = Literal["mp4", "mov", "webm", "matroska"]

LARGEST_CLIP = 2**30
"""Bytes of a clip at most; it is held in memory while it is made."""

_LOOK_AHEAD = 40
_MICROSECOND = Fraction(1, 1_000_000)
_SOUND_GAP = Fraction(1, 10)
_SMALL = "Cut a shorter moment"
_COLOUR = ("color_range", "color_primaries", "color_trc", "colorspace")
"""What a player must know to show the colours of a picture; encoding again does not change them."""

_TURNS = {90: ["cclock"], -90: ["clock"], 180: ["clock", "clock"], -180: ["clock", "clock"]}
_X264 = {"crf": "18", "preset": "veryfast", "threads": "2"}


@dataclass(frozen=True, slots=True)
class CutOptions:
    """What to cut.

    Attributes:
        start: When the clip begins, seconds on the film's clock.
        end: When it ends.
        exact: Encode it again, so that it begins and ends with the right frame; else it begins
            with the keyframe before ``start``.
        muxer: The container of the clip.
        pixels: Pixels of a picture at most.
    """

    start: float
    end: float
    exact: bool = False
    muxer: Muxer = "mp4"
    pixels: int = VideoOptions().limits.pixels


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip.

    Attributes:
        content: The file.
        start: The time of its first picture on the film's clock, seconds.
        end: When its last picture leaves the screen.
    """

    content: bytes
    start: float
    end: float


def cut_clip(source: Source, options: CutOptions) -> Clip:
    """Cut a clip.

    Args:
        source: The film, open.
        options: What to cut.

    Raises:
        VideoError: The film cannot be read, has nothing there, or does not fit the container.
    """
    # Imported where it is used: a program that only asks for clips does not open films itself.
    import av

    room = _Room()
    with source.open() as container:
        film = _Film(container, source, options)
        try:
            with av.open(room, "w", format=options.muxer) as output:
                (film.encode if options.exact else film.copy)(output)
        except (av.FFmpegError, ValueError) as error:
            if room.full:
                raise VideoError(
                    f"the clip has more than {LARGEST_CLIP} bytes", where=source.name, remedy=_SMALL
                ) from error
            raise VideoError(
                f"the clip cannot be written as {options.muxer}: {error}",
                where=source.name,
                remedy=None if options.exact else "Encode it again: --exact-clips",
            ) from error
        if film.first is None or film.last is None:
            raise VideoError("has no picture in that moment", where=source.name)
        return Clip(room.getvalue(), float(film.first), float(film.last))


class _Room(io.BytesIO):
    """Memory for a clip, up to a bound."""

    full = False

    def write(self, data: Any, /) -> int:
        if self.tell() + len(data) > LARGEST_CLIP:
            self.full = True
            raise ValueError("no room is left")
        return super().write(data)


class _Film:
    """A film that is being cut.

    Attributes:
        first: Time of the first picture taken, seconds on the film's clock.
        last: When the last picture taken leaves the screen.
    """

    def __init__(self, container: InputContainer, source: Source, options: CutOptions) -> None:
        self._container = container
        self._options = options
        self._video = choose_stream(container, None, source)
        self._video.codec_context.options = {"max_pixels": str(options.pixels)}
        sound = container.streams.best("audio")
        self._sound = cast("AudioStream | None", sound)
        self._base = self._video.time_base or Fraction(1, 90_000)
        self._clock = DisplayClock.starting(container, self._first_shown(), self._base)
        self._step = 1 / Fraction(self._video.average_rate or 25)
        self._start = self._clock.origin + Fraction(options.start)
        self._end = self._clock.origin + Fraction(options.end)
        # A moment's ends are rounded to milliseconds, a frame's time is not.
        self._slack = min(Fraction(1, 1000), self._step / 4)
        self._begin = self._start
        self._samples = 0
        self._tick = -1
        self.first: Fraction | None = None
        self.last: Fraction | None = None

    def copy(self, output: OutputContainer) -> None:
        """Copy packets, from the keyframe that the first picture needs."""
        made: dict[int, Any] = {}
        for stream in self._streams():
            made[stream.index] = output.add_stream_from_template(stream, opaque=True)
        packets = self._from_keyframe()
        begin: Fraction | None = None
        for packet in packets:
            base = packet.time_base or self._base
            is_video = packet.stream.index == self._video.index
            if begin is None:
                begin = self._when(packet)
                self._note(begin)
            # Pictures shown before the keyframe need what lies before it.
            if self._when(packet) < begin or (not is_video and self._when(packet) >= self._end):
                continue
            if is_video:
                self._note(self._when(packet))
            shift = round(begin / base)
            packet.pts = None if packet.pts is None else packet.pts - shift
            packet.dts = None if packet.dts is None else packet.dts - shift
            packet.stream = made[packet.stream.index]
            output.mux(packet)

    def encode(self, output: OutputContainer) -> None:
        """Decode and encode again: H.264 and AAC."""
        self._seek()
        import av

        picture_out: Any = None
        sound_out: Any = None
        turning: _Turning | None = None
        held: list[Any] = []
        for stream, frame in self._frames():
            base = frame.time_base or stream.time_base
            when = None if frame.pts is None or base is None else frame.pts * base
            if when is None or not self._start <= when + self._slack < self._end:
                continue
            if isinstance(frame, av.VideoFrame):
                turning = turning or _Turning(frame)
                shown = turning.turn(frame)
                if picture_out is None:
                    picture_out = self._picture_stream(output, shown)
                    sound_out = self._sound_stream(output)
                if self.first is None:
                    self._begin = when
                self._note(when)
                # Some files' times repeat or fall, which no encoder takes.
                tick = max(self._tick + 1, round((when - self._begin) / self._base))
                shown.pts = self._tick = tick
                shown.time_base = self._base
                shown.pict_type = 0
                output.mux(picture_out.encode(shown))
            else:
                self._set_sound_time(frame, when - self._start)
                held.append(frame)
            # All streams must be known before the first is written.
            while sound_out is not None and held:
                output.mux(sound_out.encode(held.pop(0)))
        for made in (picture_out, sound_out):
            if made is not None:
                output.mux(made.encode(None))

    def _set_sound_time(self, frame: av.AudioFrame, when: Fraction) -> None:
        """Count sound in samples; where the container says otherwise, it must say so clearly.

        Some containers' times are too coarse for frames of sound to follow each other.
        """
        said = max(0, round(when * frame.sample_rate))
        apart = said - self._samples
        frame.pts = said if apart > frame.sample_rate * _SOUND_GAP else self._samples
        frame.time_base = Fraction(1, frame.sample_rate)
        self._samples = frame.pts + frame.samples

    def _frames(self) -> Iterator[tuple[Any, Any]]:
        """Decoded pictures and sound, up to the end and a little beyond."""
        for packet in self._container.demux(*self._streams()):
            if self._is_past(packet):
                break
            yield from ((packet.stream, frame) for frame in _decoded(packet.stream, packet))
        else:
            return
        for stream in self._streams():
            yield from ((stream, frame) for frame in _decoded(stream, None))

    def _picture_stream(self, output: OutputContainer, frame: av.VideoFrame) -> Any:
        stream: Any = output.add_stream(
            "libx264", rate=self._video.average_rate or 25, options=_X264
        )
        # H.264 in 4:2:0 has even sides.
        stream.width, stream.height = frame.width // 2 * 2, frame.height // 2 * 2
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = self._base
        for name in _COLOUR:
            setattr(stream.codec_context, name, getattr(self._video.codec_context, name))
        return stream

    def _sound_stream(self, output: OutputContainer) -> Any:
        if self._sound is None:
            return None
        stream: Any = output.add_stream("aac", rate=self._sound.rate)
        stream.layout = "stereo" if self._sound.channels > 1 else "mono"
        return stream

    def _streams(self) -> list[VideoStream | AudioStream]:
        return [self._video] if self._sound is None else [self._video, self._sound]

    def _first_shown(self) -> int:
        """The tick of the first picture that is shown."""
        shown = []
        for packet in self._container.demux(self._video):
            if packet.pts is not None and not packet.is_discard:
                shown.append(packet.pts)
            if len(shown) >= _LOOK_AHEAD or packet.pts is None:
                break
        if not shown:
            raise VideoError("shows no pictures")
        return min(shown)

    def _seek(self) -> None:
        tick = int((self._start - self._slack) / self._base)
        self._container.seek(tick, stream=self._video)

    def _from_keyframe(self) -> list[Packet[Any]]:
        """The packets from the last keyframe that is not after the start, up to the end."""
        self._seek()
        packets = self._collect()
        if not packets:
            # Without an index, seeking may go too far.
            self._container.seek(int(self._clock.origin / _MICROSECOND))
            packets = self._collect(late=True)
        return packets

    def _collect(self, *, late: bool = False) -> list[Packet[Any]]:
        """Packets from a keyframe on; with ``late``, even one after the start."""
        held: list[Packet[Any]] = []
        size, begun = 0, False
        for packet in self._container.demux(*self._streams()):
            if packet.pts is None and packet.dts is None:
                continue
            if self._is_past(packet):
                break
            if packet.stream.index == self._video.index and packet.is_keyframe:
                if self._when(packet) <= self._start + self._slack:
                    held, size, begun = [], 0, True
                elif not begun:
                    if not late:
                        return []
                    begun = True
            if begun:
                held.append(packet)
                size += packet.size
                if size > LARGEST_CLIP:
                    raise VideoError(f"the clip has more than {LARGEST_CLIP} bytes", remedy=_SMALL)
        return held

    def _is_past(self, packet: Packet[Any]) -> bool:
        """Whether this packet, and so all that follow, are of pictures after the end."""
        if packet.stream.index != self._video.index or packet.dts is None:
            return False
        return packet.dts * (packet.time_base or self._base) >= self._end - self._slack

    def _when(self, packet: Packet[Any]) -> Fraction:
        tick = packet.pts if packet.pts is not None else packet.dts
        return Fraction(tick or 0) * (packet.time_base or self._base)

    def _note(self, when: Fraction) -> None:
        time = when - self._clock.origin
        self.first = time if self.first is None else min(self.first, time)
        self.last = time + self._step if self.last is None else max(self.last, time + self._step)


class _Turning:
    """Turns pictures upright, as the film's display matrix says."""

    def __init__(self, frame: av.VideoFrame) -> None:
        self._graph: Any = None
        turns = _TURNS.get(frame.rotation, [])
        if turns:
            from av.filter import Graph

            self._graph = Graph()
            nodes = [
                self._graph.add_buffer(
                    template=None,
                    width=frame.width,
                    height=frame.height,
                    format=frame.format,
                    time_base=frame.time_base,
                )
            ]
            nodes += [self._graph.add("transpose", f"dir={turn}") for turn in turns]
            nodes.append(self._graph.add("buffersink"))
            self._graph.link_nodes(*nodes).configure()

    def turn(self, frame: av.VideoFrame) -> av.VideoFrame:
        """The picture, upright."""
        if self._graph is None:
            return frame
        self._graph.push(frame)
        return cast("av.VideoFrame", self._graph.pull())


def _decoded(stream: Any, packet: Packet[Any] | None) -> list[Any]:
    import av

    try:
        return list(stream.decode(packet))
    except av.FFmpegError:
        # A damaged packet costs its own pictures.
        return []
