"""Read a video as frames: what is on screen at each wanted instant."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeAlias

from vtloc_runtime.errors import UsageError, VideoError
from vtloc_runtime.video.demux import StreamPass
from vtloc_runtime.video.frame_sequence import FrameSequence
from vtloc_runtime.video.options import VideoOptions
from vtloc_runtime.video.sampling.full import FullDecode
from vtloc_runtime.video.sampling.parallel import AheadDecode, Decode, ParallelDecode
from vtloc_runtime.video.sampling.sparse import NeededDecode
from vtloc_runtime.video.source import Readable, Source

if TYPE_CHECKING:
    from vtloc_runtime.video.frame import Frame

VideoSource: TypeAlias = "str | os.PathLike[str] | bytes | Readable | FrameSequence"
"""A path, an allowed URL, a file's bytes, an open binary file, or pictures with times."""


def open_video(source: VideoSource, options: VideoOptions | None = None) -> FrameReader:
    """Open a video for one reading.

    Args:
        source: What to read.
        options: How to sample it; a frame a second by default.

    Raises:
        VideoError: It is no video, has no picture stream, or is beyond the limits.
    """
    return FrameReader(source, options or VideoOptions())


class FrameReader:
    """The frames of one video, in the order of their instants; read once, then closed.

    Iterating yields ``Frame``s. What the attributes say is final when iteration has ended.
    Memory does not grow with the video's length.

    Attributes:
        duration: When the last picture leaves the screen, seconds on the shown clock.
        warnings: What the reader should know about the frames (a file cut short, say).
        damaged: Packets that could not be decoded and were passed over.
    """

    def __init__(self, source: VideoSource, options: VideoOptions) -> None:
        self.options = options
        self.duration = 0.0
        self.warnings: tuple[str, ...] = ()
        self.damaged = 0
        self._started = False
        self._begun = time.monotonic()
        self._sequence = source if isinstance(source, FrameSequence) else None
        self._source: Source | None = None
        self._pass: StreamPass | None = None
        self._decode: Decode | None = None
        if not isinstance(source, FrameSequence):
            self._source = Source(source, options)
            try:
                self._pass = StreamPass(self._source, options)
            except BaseException:
                self._source.close()
                raise

    def __iter__(self) -> Iterator[Frame]:
        if self._started:
            raise UsageError("a FrameReader is read once", remedy="Open the video again")
        self._started = True
        return self._guarded()

    def close(self) -> None:
        """Stop, and give everything back; a second call does nothing."""
        self._started = True
        if self._decode is not None:
            self._decode.close()
        if self._pass is not None:
            if self._decode is not None:
                self.duration = self._decode.duration
                self.damaged = self._decode.damaged
                self.warnings = self._pass.warnings(self.damaged, self._decode.end)
            self._pass.close()
        if self._source is not None:
            self._source.close()
        self._decode = self._pass = self._source = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _guarded(self) -> Iterator[Frame]:
        try:
            for number, frame in enumerate(self._frames(), start=1):
                self._hold_limits(number, frame.asked)
                yield frame
                if self._closed:
                    return
        except VideoError as error:
            if error.where is not None:
                raise
            raise VideoError(error.what, where=self._name, remedy=error.remedy) from error
        finally:
            self.close()

    def _hold_limits(self, number: int, asked: float) -> None:
        """Refuse a video that gives more frames, lasts or takes longer than its options allow."""
        if time.monotonic() - self._begun > self.options.limits.wall_seconds:
            raise VideoError(
                f"takes more than {self.options.limits.wall_seconds:g} s to read",
                where=self._name,
                remedy="Raise the limit with --video-timeout, or Limits.wall_seconds, "
                "if it is worth it",
            )
        if number > self.options.limits.frames:
            raise VideoError(
                f"gives more than {self.options.limits.frames} frames",
                where=self._name,
                remedy="Sample it less densely, or raise Limits.frames",
            )
        if asked > self.options.limits.seconds:
            raise VideoError(
                f"lasts longer than {self.options.limits.seconds:g} s",
                where=self._name,
                remedy="Raise Limits.seconds if the video is meant to be that long",
            )

    @property
    def _closed(self) -> bool:
        return self._sequence is None and self._pass is None

    @property
    def _name(self) -> str:
        return self._source.name if self._source is not None else "frame sequence"

    def _frames(self) -> Iterator[Frame]:
        if self._sequence is not None:
            yield from self._sequence.sample(self.options)
            self.duration = self._sequence.duration
            return
        if self._pass is None:
            return
        self._decode = decode = _decode(self._pass, self.options)
        yield from decode.frames(self.options.targets())
        decode.finish()


def _decode(stream_pass: StreamPass, options: VideoOptions) -> Decode:
    if options.strategy == "everything":
        decode: Decode = FullDecode(stream_pass, options)
    elif options.workers > 1 and stream_pass.seeks_exactly:
        return ParallelDecode(stream_pass, options)
    else:
        decode = NeededDecode(stream_pass, options)
    return AheadDecode(decode) if options.workers else decode
