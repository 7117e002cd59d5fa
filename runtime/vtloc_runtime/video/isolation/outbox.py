"""What the decoder process says: messages, sent while it goes on decoding."""

from __future__ import annotations

import os
import queue
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import msgspec

from vtloc_runtime.video.isolation.messages import HEADER, Again, Message

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SOON = 0.2


class UnwantedError(Exception):
    """The parent does not want this video any more."""


class Outbox:
    """Sends messages from a thread, so that decoding continues while the parent works.

    Args:
        line: The socket to the parent.
        number: The request that they answer.
        room: Messages that may wait at most.
        shared: Other videos are read at the same time, so the process outlives the line.
    """

    def __init__(
        self, line: socket.socket, number: int, room: int, *, shared: bool = False
    ) -> None:
        self._line = line
        self._number = number
        self._shared = shared
        self._unwanted = False
        self._waiting: queue.Queue[tuple[Message, NDArray[Any] | None] | None] = queue.Queue(room)
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._thread.start()

    def put(self, message: Message, picture: NDArray[Any] | None = None) -> None:
        """Send a message, and the bytes that follow it, after those that wait already.

        Raises:
            UnwantedError: The parent has closed the line.
        """
        if self._unwanted:
            raise UnwantedError
        self._waiting.put((message, picture))

    def finish(self) -> None:
        """Wait until all is sent."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            while (item := self._waiting.get()) is not None:
                message, picture = item
                send_message(self._line, self._number, message)
                if picture is not None:
                    self._line.sendall(picture.data.cast("B"))
        except OSError:
            # The parent has gone, or no longer wants this video.
            if not self._shared:
                os._exit(0)
            self._unwanted = True
            # A thread that waits for room goes on, and finds out.
            while self._waiting.get() is not None:
                pass


class Repeats:
    """Counts frames that repeat the one before, and reports them at intervals."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._time = 0.0
        self._count = 0
        self._said = time.monotonic()

    def add(self, seconds: float) -> None:
        """Count one more frame, which came on screen at a time."""
        if seconds != self._time:
            self.send()
        self._time = seconds
        self._count += 1
        # The parent waits for frames, and gives a video up that shows none for long.
        if time.monotonic() - self._said > _SOON:
            self.send()

    def send(self) -> None:
        """Say what has been counted."""
        if self._count:
            self._outbox.put(Again(self._time, self._count))
        self._count = 0
        self._said = time.monotonic()


def send_message(line: socket.socket, number: int, message: Message) -> None:
    """Send one message."""
    body = msgspec.msgpack.encode(message)
    line.sendall(HEADER.pack(number, len(body)) + body)
