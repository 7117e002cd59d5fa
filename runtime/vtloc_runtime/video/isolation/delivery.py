"""The parent's side of requests that are not for frames: a film's facts, and clips of it."""

from __future__ import annotations

import math
import time
from fractions import Fraction
from typing import TYPE_CHECKING

from vtloc_runtime.video.cutting import LARGEST_CLIP, Clip
from vtloc_runtime.video.film_facts import FilmFacts
from vtloc_runtime.video.isolation.channel import Channel, Deadline, NonsenseError
from vtloc_runtime.video.isolation.conversation import (
    checked_text,
    overtime_error,
    refusal_error,
    silence_error,
)
from vtloc_runtime.video.isolation.messages import LARGEST_PIECE, ClipEnd, Facts, Message, Piece

if TYPE_CHECKING:
    from vtloc_runtime.errors import VideoError

_LARGEST_SIDE = 2**20
_FASTEST = 1000
_ROUNDING = 0.01


class Delivery:
    """Receives the answer to one request, and checks it.

    Args:
        channel: The line to the process; the request has been sent.
        number: The request's number.
        name: What messages call the video.
        timeout: Seconds without a message after which it is given up.
        end: When the whole request is given up, by the monotonic clock.
        wall: Seconds that the whole request may take, for messages.

    Attributes:
        number: The request's number.
        heard: Whether the process has said anything about the video.
        over: Whether the process has said its last word on the video.
        near_limit: Whether the process came close to its limit of memory.
    """

    def __init__(
        self,
        channel: Channel,
        number: int,
        *,
        name: str,
        timeout: float,
        end: float,
        wall: float,
    ) -> None:
        self._channel = channel
        self.number = number
        self._name = name
        self._timeout = timeout
        self._end = end
        self._wall = wall
        self.heard = False
        self.over = False
        self.near_limit = False

    def facts(self) -> FilmFacts:
        """The facts of a film.

        Raises:
            VideoError: The film cannot be read.
            DeadlineError, NonsenseError, OSError, EOFError: As for ``Conversation.parts``.
        """
        message = self._next(self.deadline())
        if not isinstance(message, Facts):
            raise self._refused(message)
        numerator, denominator = message.rate
        plausible = (
            denominator > 0
            and 0 < numerator <= _FASTEST * denominator
            and max(numerator, denominator) < 2**31
            and 0 <= message.duration < math.inf
            and 0 <= message.width < _LARGEST_SIDE
            and 0 <= message.height < _LARGEST_SIDE
        )
        if not plausible:
            raise NonsenseError("a film with impossible facts was described")
        self.over = True
        return FilmFacts(
            self._name,
            Fraction(numerator, denominator),
            message.duration,
            message.width,
            message.height,
            message.sound,
            checked_text(message.timecode),
        )

    def clip(self) -> Clip:
        """A clip.

        Raises:
            VideoError: The film cannot be read, or cut.
            DeadlineError, NonsenseError, OSError, EOFError: As for ``Conversation.parts``.
        """
        content = bytearray()
        while True:
            deadline = self.deadline()
            message = self._next(deadline)
            if isinstance(message, Piece):
                if not 0 < message.size <= LARGEST_PIECE:
                    raise NonsenseError(f"a piece of {message.size} bytes was announced")
                if len(content) + message.size > LARGEST_CLIP:
                    raise NonsenseError(f"a clip of more than {LARGEST_CLIP} bytes was sent")
                room = bytearray(message.size)
                self._channel.receive_into(memoryview(room), deadline)
                content += room
            elif isinstance(message, ClipEnd):
                if not (content and -math.inf < message.start <= message.end < math.inf):
                    raise NonsenseError("a clip ends before it begins")
                self.over = True
                return Clip(bytes(content), message.start, message.end)
            else:
                raise self._refused(message)

    def deadline(self) -> Deadline:
        """When the next message must be there."""
        return Deadline(min(self._timeout, self._end - time.monotonic()))

    def late(self) -> VideoError:
        """The error for a deadline that has passed."""
        if time.monotonic() >= self._end - _ROUNDING:
            return overtime_error(self._name, self._wall)
        return silence_error(self._name, self._timeout)

    def _next(self, deadline: Deadline) -> Message:
        message = self._channel.receive(self.number, deadline)
        self.heard = True
        return message

    def _refused(self, message: Message) -> VideoError:
        error = refusal_error(message, self._name)
        self.over, self.near_limit = True, bool(getattr(message, "near_limit", False))
        return error
