"""Read the frames that are on screen at requested instants."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from vtloc_runtime.errors import UsageError, VideoError, VtlocError
from vtloc_runtime.system.closing import Closing
from vtloc_runtime.video.demuxing.demux import DemuxPass
from vtloc_runtime.video.demuxing.diagnosis import ENCRYPTED
from vtloc_runtime.video.demuxing.source import Source
from vtloc_runtime.video.frame_sequence import FrameSequence
from vtloc_runtime.video.options import VideoOptions
from vtloc_runtime.video.sampling.full import FullSampler
from vtloc_runtime.video.sampling.keyframes import KeyframeSampler
from vtloc_runtime.video.sampling.parallel import ParallelSampler
from vtloc_runtime.video.sampling.read_ahead import ReadAheadSampler
from vtloc_runtime.video.sampling.seeking import SeekingSampler
from vtloc_runtime.video.sampling.sparse import SparseSampler

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vtloc_runtime.video.demuxing.shared_bytes import Readable
    from vtloc_runtime.video.frame import Frame
    from vtloc_runtime.video.sampling.sampler import Sampler

VideoSource: TypeAlias = "str | os.PathLike[str] | bytes | Readable | FrameSequence"
"""A path, an allowed URL, a file's bytes, an open binary file, or pictures with times."""


def open_video(source: VideoSource, options: VideoOptions | None = None) -> FrameReader:
    """Open a video for one reading.

    Args:
        source: What to read.
        options: How to sample it; a frame a second by default.

    Raises:
        VideoError: It is not a video, has no video stream, or is beyond the limits.
        UsageError: The source is of another type.
    """
    return FrameReader(source, options or VideoOptions())


class FrameReader(Closing):
    """The frames of one video, in the order of their instants; read once, then closed.

    Iterating yields ``Frame``s. What the attributes say is final when iteration has ended.
    Memory does not grow with the video's length.

    Attributes:
        duration: When the last picture leaves the screen, seconds on the shown clock.
        warnings: What the reader should know about the frames (a file cut short, say).
        damaged: Packets that could not be decoded and were passed over.
        keyframes: ``[K]`` float64, the seconds at which decoding can begin, near enough to divide
            work by, at most two in the time of one sample; empty where the file has no index of
            them, or instants were asked for, except with the strategy ``outline``.
        period: Seconds from one picture to the next as the header says, or 0.
        hidden_cuts: ``[H]`` float64, the seconds at which scenes seem to begin between keyframes;
            the strategy ``outline`` finds them where the file's index names every packet.
    """

    def __init__(self, source: VideoSource, options: VideoOptions) -> None:
        self.options = options
        self.duration = 0.0
        self.warnings: tuple[str, ...] = ()
        self.damaged = 0
        self.keyframes: NDArray[np.float64] = np.empty(0)
        self.period = 0.0
        self.hidden_cuts = np.empty(0)
        self._started = self._finished = False
        self._began = time.monotonic()
        self._notes: list[str] = []
        self._sequence = source if isinstance(source, FrameSequence) else None
        self._source: Source | None = None
        self._pass: DemuxPass | None = None
        self._sampler: Sampler | None = None
        if not isinstance(source, FrameSequence):
            self._open(source)

    def __iter__(self) -> Iterator[Frame]:
        if self._started:
            raise UsageError("a FrameReader is read once", remedy="Open the video again")
        self._started = True
        return self._guarded()

    def close(self) -> None:
        """Close the reader and release its resources; a second call does nothing."""
        self._started = True
        if self._sampler is not None:
            self._sampler.close()
        if self._pass is not None:
            if self._sampler is not None:
                end = self._sampler.end if self._finished else None
                self.duration = self._sampler.duration
                self.damaged = self._sampler.damaged
                self.keyframes = self._sampler.keyframes
                if isinstance(self._sampler, KeyframeSampler):
                    self.hidden_cuts = self._sampler.hidden_cuts
                self.warnings = (*self._notes, *self._pass.warnings(self.damaged, end))
            self._pass.close()
        if self._source is not None:
            self._source.close()
        self._sampler = self._pass = self._source = None

    def _open(self, source: str | os.PathLike[str] | bytes | Readable) -> None:
        with _one_error(_name_of(source)):
            self._source = Source(source, self.options)
        try:
            with _one_error(self._source.name):
                self._pass = DemuxPass(self._source, self.options)
                self._inspect(self._source)
        except BaseException:
            if self._pass is not None:
                self._pass.close()
            self._source.close()
            raise

    def _inspect(self, source: Source) -> None:
        """PictureFormat for what FFmpeg reads without a word, and wrongly."""
        if source.mp4 is None:
            return
        if source.mp4.encrypted:
            raise VideoError(ENCRYPTED.what, where=source.name, remedy=ENCRYPTED.remedy)
        if source.mp4.recordings > 1:
            self._notes.append(
                "recordings were joined in the file: pictures may be missing after the first"
            )
        if source.mp4.paused:
            self._notes.append(
                "the file's edit list pauses the video, which is not followed: times after a pause "
                "may be wrong"
            )

    def _guarded(self) -> Iterator[Frame]:
        with _one_error(self._name):
            try:
                last = 0.0
                for number, frame in enumerate(self._frames(), start=1):
                    self._check_limits(number, frame.asked)
                    # The timestamps of a damaged file may lie before its start, or fall.
                    last = max(last, frame.time)
                    yield frame if frame.time == last else replace(frame, time=last)
                    if self._closed:
                        return
                self._finished = True
            finally:
                self.close()

    def _check_limits(self, number: int, asked: float) -> None:
        """Refuse a video that gives more frames, or lasts longer, than its options allow."""
        wall = self.options.limits.wall_seconds
        if time.monotonic() - self._began > wall:
            raise VideoError(
                f"takes more than {wall:g} s to read",
                where=self._name,
                remedy="Raise the limit with --video-timeout, or Limits.wall_seconds, "
                "if it is worth it",
            )
        if number > self.options.limits.frames:
            raise VideoError(
                f"gives more than {self.options.limits.frames} frames",
                where=self._name,
                remedy="Sample fewer frames per second, or raise Limits.frames",
            )
        if asked > self.options.limits.seconds:
            raise VideoError(
                f"lasts longer than {self.options.limits.seconds:g} s",
                where=self._name,
                remedy="Raise the limit with --max-duration, or Limits.seconds, "
                "if the video is meant to be that long",
            )

    @property
    def _closed(self) -> bool:
        return self._sequence is None and self._pass is None

    @property
    def _name(self) -> str:
        return self._source.name if self._source is not None else "frame sequence"

    def _frames(self) -> Iterator[Frame]:
        if self._sequence is not None:
            self.period = self._sequence.period
            yield from self._sequence.sample(self.options)
            self.duration = self._sequence.duration
            return
        if self._pass is None:
            return
        self.period = self._pass.period
        self._sampler = sampler = _open_sampler(self._pass, self.options)
        yield from sampler.frames(self.options.targets())
        sampler.finish()


@contextmanager
def _one_error(where: str) -> Iterator[None]:
    """Turn every error into a `VideoError` with the video's name."""
    try:
        yield
    except VideoError as error:
        if error.where is not None:
            raise
        raise VideoError(error.what, where=where, remedy=error.remedy) from error
    except VtlocError:
        raise
    except MemoryError as error:
        raise VideoError(
            "needs more memory to decode than is available",
            where=where,
            remedy="Give it more memory, or convert it to smaller pictures",
        ) from error
    except Exception as error:
        raise VideoError(
            f"cannot be read ({type(error).__name__}: {error})",
            where=where,
            remedy="It is probably damaged; check that it plays",
        ) from error


def _name_of(source: object) -> str:
    return str(source) if isinstance(source, str | os.PathLike) else type(source).__name__


def _open_sampler(stream_pass: DemuxPass, options: VideoOptions) -> Sampler:
    if options.strategy == "everything":
        sampler: Sampler = FullSampler(stream_pass, options)
    elif options.strategy in {"keyframes", "outline"}:
        return KeyframeSampler(stream_pass, options, listing=options.strategy == "outline")
    elif options.workers > 1 and stream_pass.seeks_exactly:
        return ParallelSampler(stream_pass, options)
    elif options.instants is not None and stream_pass.seeks_exactly:
        sampler = SeekingSampler(stream_pass, options)
    else:
        sampler = SparseSampler(stream_pass, options)
    return ReadAheadSampler(sampler) if options.workers else sampler
