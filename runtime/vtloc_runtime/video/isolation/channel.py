"""The parent's connection to a decoder process, whose messages are not trusted.

Everything is received against a deadline, into memory whose size was known before.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from typing import TYPE_CHECKING

import msgspec

from vtloc_runtime.video.isolation.messages import (
    HEADER,
    LONGEST_MESSAGE,
    REQUEST,
    Message,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_KEPT_WORDS = 8192
_WRITE_SIZE = 2**18
_LOOK = 1.0


class DeadlineError(Exception):
    """A message was not received completely in time."""


class Deadline:
    """A deadline that does not count time during which the machine or process was suspended.

    Args:
        seconds: How long the waiting may take.
    """

    def __init__(self, seconds: float) -> None:
        self._left = seconds
        self._mark = time.monotonic()

    def left(self) -> float:
        """Seconds that are left.

        Raises:
            DeadlineError: There are none.
        """
        now = time.monotonic()
        # The waiting side looks every second: a longer step was spent asleep.
        self._left -= min(now - self._mark, 2 * _LOOK)
        self._mark = now
        if self._left <= 0:
            raise DeadlineError
        return self._left


class NonsenseError(Exception):
    """A message that a decoder would not send."""


class Channel:
    """Sends requests to a decoder process and receives its messages; for one thread at a time.

    Args:
        line: A connected stream socket; owned from here on.
        words: Where the process's standard error comes out; owned from here on. None where another
            channel to the process has it.
        echo: Takes what it says there; by default only the end of it is kept.
    """

    def __init__(
        self,
        line: socket.socket,
        words: int | None,
        echo: Callable[[bytes], object] | None = None,
    ) -> None:
        self._line = line
        self._words = words
        self._echo = echo
        self._kept = b""
        self._decoder = msgspec.msgpack.Decoder(Message)
        line.setblocking(False)
        self._poll = select.poll()
        if words is not None:
            os.set_blocking(words, False)
            self._poll.register(words, select.POLLIN)

    def send(self, number: int, request: bytes, descriptor: int | None, deadline: Deadline) -> None:
        """Send a request.

        Args:
            number: Its number.
            request: Its content.
            descriptor: An open file that goes along.
            deadline: When to give up.

        Raises:
            DeadlineError: It was not taken in time.
            OSError: The process has gone.
        """
        header = REQUEST.pack(number, len(request))
        beside = [] if descriptor is None else [descriptor]
        self._wait(select.POLLOUT, deadline)
        # So short a message is taken whole, or the socket was not ready for it.
        sent = socket.send_fds(self._line, [header], beside)
        rest = memoryview(header[sent:] + request)
        while rest:
            self._wait(select.POLLOUT, deadline)
            rest = rest[self._line.send(rest[:_WRITE_SIZE]) :]

    def receive(self, number: int, deadline: Deadline) -> Message:
        """The next message.

        Args:
            number: The request that it must belong to.
            deadline: When to give up.

        Raises:
            DeadlineError: It was not there whole in time.
            NonsenseError: It is none, or belongs to another request.
            OSError, EOFError: The process has gone.
        """
        header = bytearray(HEADER.size)
        self.receive_into(memoryview(header), deadline)
        answered, length = HEADER.unpack(header)
        if answered != number:
            raise NonsenseError(f"the answer to request {answered} was sent for request {number}")
        if length > LONGEST_MESSAGE:
            raise NonsenseError(f"a message of {length} bytes was announced")
        body = bytearray(length)
        self.receive_into(memoryview(body), deadline)
        try:
            message: Message = self._decoder.decode(body)
        # Text that is not UTF-8 and deep nesting raise errors of other families.
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise NonsenseError("a message cannot be understood") from error
        return message

    def receive_into(self, room: memoryview, deadline: Deadline) -> None:
        """Fill ``room`` with the next bytes.

        Raises:
            DeadlineError: They were not all there in time.
            OSError, EOFError: The process has gone.
        """
        while room:
            self._wait(select.POLLIN, deadline)
            try:
                got = self._line.recv_into(room)
            except BlockingIOError:
                continue
            if not got:
                raise EOFError
            room = room[got:]

    def last_words(self) -> str:
        """The last line that the process wrote to standard error, or an empty string."""
        with contextlib.suppress(BlockingIOError):
            while self._words is not None and self._listen(self._words):
                pass
        lines = self._kept.decode("utf-8", "replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def hang_up(self, patience: float) -> bool:
        """Say that nothing more is wanted, and wait until the other end has closed the line.

        Args:
            patience: Seconds to wait at most.

        Returns:
            Whether it did.
        """
        with contextlib.suppress(OSError):
            # What it still sends fails, so it notices.
            self._line.shutdown(socket.SHUT_RD)
        poll = select.poll()
        poll.register(self._line, 0)
        return bool(poll.poll(1000 * patience))

    def close(self) -> None:
        """Close the connection; a second call does nothing."""
        self._line.close()
        if self._words is not None:
            os.close(self._words)
            self._words = None

    def _wait(self, what: int, deadline: Deadline) -> None:
        """Wait until the socket is ready; meanwhile collect standard error."""
        self._poll.register(self._line, what)
        while True:
            ready = dict(self._poll.poll(1000 * min(deadline.left(), _LOOK)))
            words = self._words
            if words is not None and ready.pop(words, 0) and not self._listen(words):
                # The process has closed it; the line says the rest.
                self._poll.unregister(words)
            if ready:
                return

    def _listen(self, words: int) -> bool:
        """Take what lies on standard error; False at its end."""
        said = os.read(words, _KEPT_WORDS)
        if said and self._echo is not None:
            self._echo(said)
        self._kept = (self._kept + said)[-_KEPT_WORDS:]
        return bool(said)
