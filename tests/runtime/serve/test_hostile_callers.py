"""What callers send over a socket: requests that two programs may read in two ways, headers without
end, callers that leave, and more uploads at once than fit."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.runtime.serve.conftest import Start
from tests.runtime.serve.test_live_page import running
from vtloc_runtime import Localizer
from vtloc_runtime.serve import app, connection
from vtloc_runtime.serve.connection import BoundedConnection
from vtloc_runtime.serve.uploads import Uploads
from vtloc_runtime.serve.work_queue import BusyError

BODY = b'{"video":"films/more/blue.mp4","queries":["blue"]}'
HEAD = b"Host: localhost\r\nContent-Type: application/json\r\n"
HIDDEN = b"0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def port(start: Start, films: Path) -> Iterator[int]:
    with running(start(films), http=BoundedConnection) as address:
        yield int(address.rpartition(":")[2])


def exchange(port: int, content: bytes, *, wait: float = 0.5) -> tuple[list[int], bool]:
    """The statuses of the answers to what is sent, and whether the connection was closed."""
    heard = b""
    with socket.create_connection(("127.0.0.1", port)) as caller:
        caller.settimeout(wait)
        try:
            caller.sendall(content)
            while part := caller.recv(2**16):
                heard += part
        except TimeoutError:
            return _statuses(heard), False
        except ConnectionError:
            pass
    return _statuses(heard), True


def _statuses(heard: bytes) -> list[int]:
    return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d+)", heard)]


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", HIDDEN),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", HIDDEN),
        (b"Transfer-Encoding: xchunked\r\n", HIDDEN),
        (b"Transfer-Encoding : chunked\r\nContent-Length: 3\r\n", HIDDEN),
        (b"Content-Length: 4\r\nContent-Length: 50\r\n", BODY),
        (b"Content-Length: 50, 50\r\n", BODY),
        (b"Content-Length: +50\r\n", BODY),
        (b"Content-Length: 99999999999999999999999\r\n", BODY),
        (b"X: a\r\n Content-Length: 50\r\n", BODY),
        (b"X: a\0b\r\nContent-Length: 50\r\n", BODY),
        (b"Transfer-Encoding: chunked\r\n", b"zz\r\n" + BODY + b"\r\n0\r\n\r\n"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(port: int, headers: bytes, body: bytes) -> None:
    sent = b"POST /v1/moments HTTP/1.1\r\n" + HEAD + headers + b"\r\n" + body
    assert exchange(port, sent, wait=5.0) == ([400], True)


@pytest.mark.parametrize("hosts", [("localhost", "evil.example"), ("evil.example", "localhost")])
def test_a_request_names_one_host(port: int, hosts: tuple[str, str]) -> None:
    first, second = (host.encode() for host in hosts)
    sent = b"GET /healthz HTTP/1.1\r\nHost: %b\r\nHost: %b\r\n\r\n" % (first, second)
    assert exchange(port, sent)[0] == [400]


def test_headers_have_an_end(port: int) -> None:
    sent = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 2**20
    assert exchange(port, sent, wait=5.0) == ([], True)
    whole = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 2**14 + b"\r\n\r\n"
    assert exchange(port, whole)[0] == [200]


def test_slow_headers_close_the_connection(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_TIMEOUT", 0.5)
    assert exchange(port, b"", wait=5.0) == ([], True)
    assert exchange(port, b"GET /healthz HTTP/1.1\r\nHo", wait=5.0) == ([], True)
    # The second request of a connection, begun and never finished.
    begun = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /heal"
    assert exchange(port, begun, wait=5.0) == ([200], True)
    # A body may take longer.
    with socket.create_connection(("127.0.0.1", port)) as caller:
        caller.sendall(b"POST /v1/moments HTTP/1.1\r\n" + HEAD + b"Content-Length: 50\r\n\r\n")
        time.sleep(1.0)
        caller.sendall(BODY)
        caller.settimeout(20)
        assert caller.recv(12) == b"HTTP/1.1 200"


def test_slow_bodies_are_given_up(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "BODY_TIMEOUT", 0.5)
    sent = b"POST /v1/moments HTTP/1.1\r\n" + HEAD + b"Content-Length: 50\r\n\r\n" + BODY[:-1]
    assert exchange(port, sent, wait=5.0)[0] == [408]


def test_a_question_whose_caller_has_gone_leaves_the_queue(
    start: Start, films: Path, localizer: Localizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, answered = threading.Event(), list[str]()
    localize = localizer.localize

    def wait(*arguments: object, **options: object) -> object:
        go.wait(30)
        answered.append("answered")
        return localize(*arguments, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(localizer, "localize", wait)
    sent = b"POST /v1/moments HTTP/1.1\r\n" + HEAD + b"Content-Length: 50\r\n\r\n" + BODY
    with running(start(films, waiting=1), http=BoundedConnection) as address:
        port = int(address.rpartition(":")[2])
        # One is worked on, one waits, and there is room for no third.
        first, second = (socket.create_connection(("127.0.0.1", port)) for _ in range(2))
        first.sendall(sent)
        time.sleep(0.5)
        second.sendall(sent)
        time.sleep(0.5)
        assert exchange(port, sent)[0] == [503]
        second.close()
        time.sleep(0.5)
        third = socket.create_connection(("127.0.0.1", port))
        third.sendall(sent)
        time.sleep(0.5)
        # A caller that leaves while its question is worked on keeps its place until it is answered.
        first.close()
        time.sleep(0.5)
        assert exchange(port, sent)[0] == [503]
        go.set()
        third.settimeout(30)
        assert third.recv(12) == b"HTTP/1.1 200"
        third.close()
    assert len(answered) == 2


def test_uploads_on_their_way_count() -> None:
    async def slowly(size: int, end: asyncio.Event) -> AsyncIterator[bytes]:
        yield b"x" * size
        await end.wait()

    async def send() -> None:
        end = asyncio.Event()
        with Uploads(largest=100, bound=200) as uploads:
            kept = await uploads.save("old.mp4", slowly(90, _set()))
            tasks = [asyncio.create_task(uploads.save("a.mp4", slowly(90, end))) for _ in range(2)]
            await asyncio.sleep(0.2)
            assert not (uploads.folder / Path(kept).name).exists()
            with pytest.raises(BusyError, match="too many"):
                await uploads.save("b.mp4", slowly(90, end))
            end.set()
            names = await asyncio.gather(*tasks)
            assert {one.name for one in uploads.folder.iterdir()} == {
                Path(name).name for name in names
            }

    asyncio.run(send())


def _set() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


def test_ranges_are_bounded(client: TestClient, films: Path) -> None:
    content = (films / "red, green.mp4").read_bytes()
    path = "/v1/media/films/red%2C%20green.mp4"
    for ranges in ("0-," * 3000, "".join(f"{at}-{at}," for at in range(0, 2000, 2))):
        answer = client.get(path, headers={"Range": f"bytes={ranges}0-0"})
        assert answer.status_code in {200, 206, 400, 416}
        assert len(answer.content) <= 2 * len(content)
