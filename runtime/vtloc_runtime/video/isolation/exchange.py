"""One request to a decoder process, and the checks that hold for every answer to one."""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vtloc_runtime.errors import VideoError, VtlocError
from vtloc_runtime.video.isolation.channel import (
    Channel,
    Deadline,
    DeadlineError,
    NonsenseError,
)
from vtloc_runtime.video.isolation.messages import LONGEST_TEXT, Message, Ready, Refusal

if TYPE_CHECKING:
    from vtloc_runtime.video.isolation.video_file import VideoFile

RAISE_MEMORY = "It may need more memory: raise the limit with --decoder-memory"
_ROUNDING = 0.01


class Exchange:
    """Asks a process for one thing, and receives the answer.

    Args:
        channel: The line to the process.
        number: The request's number.
        name: What messages call the video.
        timeout: Seconds without a new message after which the video is given up.
        wall: Seconds after which it is given up, whatever came of it.
        begun: When the reading began, by the monotonic clock.

    Attributes:
        heard: Whether the process has said anything about the video.
        over: Whether the process has said its last word on the video, and waits for the next.
        near_limit: Whether the process came close to its limit of memory.
        broken: Whether the process said something that no decoder says.
    """

    def __init__(
        self,
        channel: Channel,
        number: int,
        *,
        name: str,
        timeout: float,
        wall: float,
        begun: float,
    ) -> None:
        self._channel = channel
        self._number = number
        self._name = name
        self._timeout = timeout
        self._wall = wall
        self._end = begun + wall
        self.heard = False
        self.over = False
        self.near_limit = False
        self.broken = False

    @contextmanager
    def asked(self, video: VideoFile, options: object, size: int) -> Iterator[None]:
        """Send the request; the block receives the answer.

        Args:
            video: The video, open.
            options: What is asked for.
            size: Messages that may wait in the process.

        Raises:
            VideoError: The answer takes too long, or is one that no decoder gives.
            OSError, EOFError: The process has gone.
        """
        what = (video.size, video.label) if video.sequence is None else video.sequence
        request = pickle.dumps((what, options, size))
        try:
            self._channel.send(self._number, request, video.descriptor, self.deadline())
            yield
        except DeadlineError:
            raise self.late() from None
        except (EOFError, OSError, VtlocError):
            raise
        except Exception as error:
            self.broken = True
            raise VideoError(
                f"the decoder sent an invalid message ({error}) and was stopped",
                where=self._name,
                remedy="The file is damaged or hostile; do not trust it",
            ) from error

    def receive(self, deadline: Deadline) -> Message:
        """The next message of the answer.

        Raises:
            DeadlineError: It does not come in time.
            NonsenseError: It cannot be understood.
            OSError, EOFError: The process has gone.
        """
        message = self._channel.receive(self._number, deadline)
        self.heard = True
        return message

    def deadline(self) -> Deadline:
        """When the next message must be there."""
        return Deadline(min(self._timeout, self._end - time.monotonic()))

    def refusal(self, message: Message) -> VideoError:
        """The error for a video that the process refuses.

        Raises:
            NonsenseError: The message is something else.
        """
        if isinstance(message, Ready):
            raise NonsenseError("the decoder restarted in the middle of a video")
        if not isinstance(message, Refusal):
            raise NonsenseError(f"an answer of another kind ({type(message).__name__}) was sent")
        what = checked_text(message.what)
        remedy = None if message.remedy is None else checked_text(message.remedy)
        self.over, self.near_limit = True, message.near_limit
        return VideoError(
            what, where=self._name, remedy=RAISE_MEMORY if message.near_limit else remedy
        )

    def late(self) -> VideoError:
        """The error for a deadline that has passed."""
        if time.monotonic() >= self._end - _ROUNDING:
            return VideoError(
                f"takes more than {self._wall:g} s to read",
                where=self._name,
                remedy="Raise the limit with --video-timeout, or Limits.wall_seconds, "
                "if it is worth it",
            )
        return VideoError(
            f"the decoder gave no frame for {self._timeout:g} s and was stopped",
            where=self._name,
            remedy="Raise the limit with --decoder-timeout, or repair the file",
        )


def checked_text(text: str) -> str:
    """Text from a decoder, made safe for messages and records.

    Raises:
        NonsenseError: It is too long.
    """
    if len(text) > LONGEST_TEXT:
        raise NonsenseError(f"a text of {len(text)} characters was sent")
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)
