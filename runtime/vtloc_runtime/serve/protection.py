"""What every request passes before it is answered: whose it is, and how large it may be.

A page of another site can make a browser send requests to this service, and DNS rebinding can make
the browser take it for that site's own. So the host that a request names must be one of ours, and a
request that a page has sent must come from a page of ours. Rebinding needs a name, so an address
may be allowed whichever it is.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from vtloc_runtime.serve.metrics import Metrics

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""Headers of every answer that sets none of its own."""


class Protection:
    """Checks requests, and counts them.

    Args:
        app: Answers those that pass.
        hosts: Names by which the service may be called, in lower case.
        addresses: Whether it may be called by any IP address.
        bounds: Gives the bytes that the body of a request may have, and the seconds in which it
            must arrive, by its path.
        metrics: Counts the requests.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Collection[str],
        addresses: bool,
        bounds: Callable[[str], tuple[int, float]],
        metrics: Metrics,
    ) -> None:
        self._app = app
        self._hosts = frozenset(hosts)
        self._addresses = addresses
        self._bounds = bounds
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 500

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in SAFE_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            refusal = self._refusal(scope)
            if refusal is None:
                await self._app(scope, self._bounded(scope, receive), answer)
            else:
                await refusal(scope, receive, answer)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.observe_request(route, method, status, time.perf_counter() - began)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if len(headers.getlist("host")) > 1:
            # A proxy may have gone by the other one.
            return _error(400, "request", "the request names more than one host")
        if not self._is_ours(_name(f"//{host}")):
            return _error(
                421, "host", "this service is not known by that name; see vtloc-run serve --name"
            )
        if origin is not None and not self._is_own_page(origin, host):
            return _error(403, "origin", "pages of other sites may not ask this service")
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            return _error(400, "request", "the Content-Length is not a number")
        if len(length) > 18 or int(length) > self._bounds(scope["path"])[0]:
            return _error(413, "too-large", "the request is too large")
        return None

    def _is_ours(self, name: str) -> bool:
        return name in self._hosts or (self._addresses and _is_address(name))

    def _is_own_page(self, origin: str, host: str) -> bool:
        """Whether a page is from this service, or from a proxy of it that sends another host."""
        scheme, separator, place = origin.lower().partition("://")
        if not separator or scheme not in {"http", "https"}:
            return False
        name = _name(origin)
        return place == host.lower() or (name in self._hosts and not _is_local(name))

    def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        """Receive a body that may be neither larger nor slower than allowed."""
        left, seconds = self._bounds(scope["path"])
        deadline = time.monotonic() + seconds
        whole = False

        async def bounded() -> Message:
            nonlocal left, whole
            if whole:
                return await receive()
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, "the request took too long to arrive") from None
            if message["type"] == "http.request":
                left -= len(message.get("body", b""))
                whole = not message.get("more_body", False)
                if left < 0:
                    raise HTTPException(413, "the request is too large")
            return message

        return bounded


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_local(name: str) -> bool:
    # Other programs of this machine serve pages under these names, on other ports.
    return name == "localhost" or _is_address(name)


def _name(address: str) -> str:
    """The host of an address, in lower case; empty where it has none."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _error(status: int, kind: str, what: str) -> JSONResponse:
    return JSONResponse({"error": what, "kind": kind, "remedy": None}, status)
