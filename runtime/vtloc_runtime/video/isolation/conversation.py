"""The parent's side of one reading: checks every message before it becomes a frame."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from vtloc_runtime.errors import VideoError
from vtloc_runtime.video.isolation.channel import (
    Channel,
    Deadline,
    NonsenseError,
)
from vtloc_runtime.video.isolation.chunks import ChunkBuilder, ReadingEnd
from vtloc_runtime.video.isolation.messages import (
    LONGEST_TEXT,
    MOST_WARNINGS,
    Again,
    End,
    Message,
    Picture,
    Ready,
    Refusal,
)

if TYPE_CHECKING:
    from vtloc_runtime.video import VideoOptions
    from vtloc_runtime.video.isolation.chunks import Reading

RAISE_MEMORY = "It may need more memory: raise the limit with --decoder-memory"
_ROUNDING = 0.01
_STARVED = "the decoder may have run out of memory"


class Conversation:
    """Receives the frames of one video.

    Args:
        channel: The line to the process; the request has been sent.
        number: The request's number.
        options: How the video was to be sampled, limits included.
        size: Pictures in one chunk at most.
        name: What messages call the video.
        timeout: Seconds without a new frame after which it is given up.
        begun: When the reading began, by the monotonic clock.

    Attributes:
        number: The request's number.
        heard: Whether the process has said anything about the video.
        over: Whether the process has said its last word on the video, and waits for the next.
        near_limit: Whether the process came close to its limit of memory.
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
        self._channel = channel
        self.number = number
        self._limits = options.limits
        self._name = name
        self._timeout = timeout
        self._end = begun + options.limits.wall_seconds
        self._most = _most_frames(options)
        self._builder = ChunkBuilder(size, options.preprocessing.size)
        self._frames = 0
        self._time = 0.0
        self.heard = False
        self.over = False
        self.near_limit = False

    def parts(self) -> Reading:
        """The chunks and the end of the video.

        Raises:
            VideoError: The video cannot be read.
            DeadlineError: The next frame, or the whole video, takes too long.
            NonsenseError: The process said something that no decoder says.
            OSError, EOFError: The process has gone.
        """
        builder = self._builder
        while True:
            deadline = self.deadline()
            message = self._channel.receive(self.number, deadline)
            self.heard = True
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
                ending = self._ending(message)
                if len(builder):
                    yield builder.take()
                yield ending
                return
            else:
                error = refusal_error(message, self._name)
                self.over, self.near_limit = True, bool(getattr(message, "near_limit", False))
                raise error

    def deadline(self) -> Deadline:
        """When the next frame must be there."""
        return Deadline(min(self._timeout, self._end - time.monotonic()))

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

    def _ending(self, message: End) -> ReadingEnd:
        if not self._time <= message.duration < math.inf:
            raise NonsenseError(f"a video of {message.duration} s shows a frame at {self._time} s")
        if len(message.warnings) > MOST_WARNINGS:
            raise NonsenseError(f"{len(message.warnings)} warnings were sent")
        warnings = [checked_text(one) for one in message.warnings]
        if message.near_limit and warnings:
            warnings.append(_STARVED)
        self.over, self.near_limit = True, message.near_limit
        return ReadingEnd(message.duration, tuple(warnings))

    def late(self) -> VideoError:
        """The error for a deadline that has passed."""
        if time.monotonic() >= self._end - _ROUNDING:
            return overtime_error(self._name, self._limits.wall_seconds)
        return silence_error(self._name, self._timeout)


def refusal_error(message: Message, name: str) -> VideoError:
    """The error for a video that the decoder refused.

    Args:
        message: What it said.
        name: The video.

    Raises:
        NonsenseError: It said something else.
    """
    if isinstance(message, Ready):
        raise NonsenseError("the decoder restarted in the middle of a video")
    if not isinstance(message, Refusal):
        raise NonsenseError(f"it sent {type(message).__name__} in the middle of a video")
    what = checked_text(message.what)
    remedy = None if message.remedy is None else checked_text(message.remedy)
    return VideoError(what, where=name, remedy=RAISE_MEMORY if message.near_limit else remedy)


def overtime_error(name: str, seconds: float) -> VideoError:
    """The error for a video that takes longer than it may."""
    return VideoError(
        f"takes more than {seconds:g} s to read",
        where=name,
        remedy="Raise the limit with --video-timeout, or Limits.wall_seconds, if it is worth it",
    )


def silence_error(name: str, seconds: float) -> VideoError:
    """The error for a decoder that says nothing for too long."""
    return VideoError(
        f"the decoder gave no frame for {seconds:g} s and was stopped",
        where=name,
        remedy="Raise the limit with --decoder-timeout, or repair the file",
    )


def _most_frames(options: VideoOptions) -> int:
    """Frames that a reader that keeps to the options can give."""
    if options.instants is not None:
        return min(options.limits.frames, len(options.instants))
    # One more for the instant zero.
    return min(options.limits.frames, int(options.limits.seconds * options.rate) + 1)


def checked_text(text: str) -> str:
    """Text from a decoder, made safe for messages and records.

    Raises:
        NonsenseError: It is too long.
    """
    if len(text) > LONGEST_TEXT:
        raise NonsenseError(f"a text of {len(text)} characters was sent")
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)
