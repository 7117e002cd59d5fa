"""HTTP connections that no caller can hold with headers that are slow or endless."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio

HEAD_TIMEOUT = 15.0
"""Seconds in which a connection's first request line and headers must arrive, and later ones from
their first byte."""

LARGEST_HEAD = 64 * 2**10
"""Bytes that they may have, and one read of the socket more."""


class BoundedConnection(HttpToolsProtocol):
    """A connection that is closed if a request's headers take too long, or are too large.

    uvicorn bounds neither: it waits for the rest of a header as long as the caller likes.
    """

    _deadline: asyncio.TimerHandle | None = None
    _head = 0

    # uvicorn narrows the type of asyncio's own protocols.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect the first request."""
        super().connection_made(transport)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing more."""
        self._settle()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes, and count those of headers."""
        expected = self._deadline
        super().data_received(data)
        if expected is not None and self._deadline is expected:
            self._head += len(data)
            if self._head > LARGEST_HEAD:
                self.transport.close()

    def on_message_begin(self) -> None:
        """Expect the headers of a request that has begun."""
        super().on_message_begin()
        if self._deadline is None:
            self._expect()

    def on_headers_complete(self) -> None:
        """The headers are there."""
        self._settle()
        super().on_headers_complete()

    def _expect(self) -> None:
        self._head = 0
        self._deadline = self.loop.call_later(HEAD_TIMEOUT, self.transport.close)

    def _settle(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
