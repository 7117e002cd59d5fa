"""The parent's side of one reading: checks every message before it becomes a frame."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from vtloc_runtime.video.isolation.channel import Channel, Deadline, NonsenseError
from vtloc_runtime.video.isolation.chunks import ChunkBuilder, ReadingEnd
from vtloc_runtime.video.isolation.exchange import RAISE_MEMORY, Exchange, checked_text
from vtloc_runtime.video.isolation.messages import MOST_WARNINGS, Again, End, Picture

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vtloc_runtime.video import VideoOptions
    from vtloc_runtime.video.isolation.chunks import Reading
    from vtloc_runtime.video.isolation.video_file import VideoFile

__all__ = ["RAISE_MEMORY", "Conversation"]

_STARVED = "the decoder may have run out of memory"


class Conversation(Exchange):
    """Receives the frames of one video.

    Args:
        channel: The line to the process.
        number: The request's number.
        options: How the video was to be sampled, limits included.
        size: Pictures in one chunk at most.
        name: What messages call the video.
        timeout: Seconds without a new frame after which it is given up.
        begun: When the reading began, by the monotonic clock.
    """

    def __init__(
        self,
        channel: Channel,
        number: int,
        options: VideoOptions,
        size: int,
        *,
        name: str,
        timeout: float,
        begun: float,
    ) -> None:
        super().__init__(
            channel,
            number,
            name=name,
            timeout=timeout,
            wall=options.limits.wall_seconds,
            begun=begun,
        )
        self._options = options
        self._size = size
        self._limits = options.limits
        self._most = _most_frames(options)
        # Two in the time of a sample, at most.
        self._most_keyframes = 2 * self._most if options.instants is None else 0
        self._builder = ChunkBuilder(size, options.preprocessing.size)
        self._frames = 0
        self._time = 0.0

    def read(self, video: VideoFile) -> Reading:
        """Ask for the video, and receive its chunks and its end.

        Raises:
            VideoError: The video cannot be read, takes too long, or the process said something
                that no decoder says.
            OSError, EOFError: The process has gone.
        """
        with self.asked(video, self._options, self._size):
            yield from self.parts()

    def parts(self) -> Reading:
        """The chunks and the end of the video, once it was asked for.

        Raises:
            VideoError: The video cannot be read.
            DeadlineError: The next frame, or the whole video, takes too long.
            NonsenseError: The process said something that no decoder says.
            OSError, EOFError: The process has gone.
        """
        builder = self._builder
        while True:
            deadline = self.deadline()
            message = self.receive(deadline)
            if isinstance(message, Picture):
                if builder.full:
                    yield builder.take()
                    # The consumer's own work between chunks is not the decoder's time.
                    deadline = self.deadline()
                self._picture(message, deadline)
                continue
            if isinstance(message, Again):
                yield from self._again(message)
            elif isinstance(message, End):
                ending = self._ending(message, deadline)
                if len(builder):
                    yield builder.take()
                yield ending
                return
            else:
                raise self.refusal(message)

    def _picture(self, message: Picture, deadline: Deadline) -> None:
        self._count(message.time, 1)
        room = self._builder.slot.data.cast("B")
        self._channel.receive_into(room, deadline)
        self._builder.add(message.time)

    def _again(self, message: Again) -> Reading:
        if self._builder.last is None:
            raise NonsenseError("a frame repeats one that was never sent")
        self._count(message.time, message.count)
        for _ in range(message.count):
            if self._builder.crowded:
                yield self._builder.take()
            self._builder.again(message.time)

    def _count(self, seconds: float, frames: int) -> None:
        """Count frames, and hold the video to its limits whatever the process did."""
        if not self._time <= seconds < math.inf:
            raise NonsenseError(f"a frame of {seconds} s follows one of {self._time} s")
        if frames < 1:
            raise NonsenseError(f"{frames} frames were announced")
        if seconds > self._limits.seconds:
            raise NonsenseError(f"a frame of {seconds} s lies beyond the limit")
        if self._frames + frames > self._most:
            raise NonsenseError(f"more than {self._most} frames were sent")
        self._time = seconds
        self._frames += frames

    def _ending(self, message: End, deadline: Deadline) -> ReadingEnd:
        if not self._time <= message.duration < math.inf:
            raise NonsenseError(f"a video of {message.duration} s shows a frame at {self._time} s")
        if len(message.warnings) > MOST_WARNINGS:
            raise NonsenseError(f"{len(message.warnings)} warnings were sent")
        warnings = [checked_text(one) for one in message.warnings]
        if message.near_limit and warnings:
            warnings.append(_STARVED)
        if not 0 <= message.period < math.inf:
            raise NonsenseError(f"pictures that come every {message.period} s were announced")
        keyframes = self._times(message.keyframes, deadline)
        hidden = self._times(message.hidden_cuts, deadline)
        self.over, self.near_limit = True, message.near_limit
        return ReadingEnd(message.duration, tuple(warnings), keyframes, message.period, hidden)

    def _times(self, count: int, deadline: Deadline) -> NDArray[np.float64]:
        """Times of keyframes, or of hidden cuts, that follow the end."""
        if not 0 <= count <= self._most_keyframes:
            raise NonsenseError(f"{count} times of keyframes or cuts were announced")
        times = np.empty(count, dtype=np.float64)
        if count:
            self._channel.receive_into(times.data.cast("B"), deadline)
            ordered = np.isfinite(times).all() and (np.diff(times) > 0).all()
            if not (ordered and times[0] >= 0 and times[-1] <= self._limits.seconds):
                raise NonsenseError("the times of keyframes or cuts do not rise")
        return times


def _most_frames(options: VideoOptions) -> int:
    """Frames that a reader that keeps to the options can give."""
    if options.instants is not None:
        return min(options.limits.frames, len(options.instants))
    # One more for the instant zero.
    seconds = options.limits.seconds
    if math.isinf(seconds):
        return options.limits.frames
    return min(options.limits.frames, int(seconds * options.rate) + 1)
