"""The talk with an agent: whatever comes in, it goes on, and it ends when its other side does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

_PROGRAM = "from vtloc_runtime.cli.main import main; main()"
_SLOW = (
    "import time; from vtloc_runtime.serve.service import Service\n"
    "Service.describe = lambda self, _: (self._closed.wait(100), time.sleep(0.1))\n" + _PROGRAM
)
_HELLO = (
    b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18",'
    b'"capabilities":{},"clientInfo":{"name":"test","version":"1"}}}\n'
    b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n'
)


class Talk:
    """A talk with the program."""

    def __init__(self, films: Path, bundle: Path, program: str = _PROGRAM) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, "mcp", str(films), "-b", str(bundle)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        self.stderr = self.process.stderr
        self.send(_HELLO)
        assert self.receive()["id"] == 1

    def send(self, message: bytes) -> None:
        self.stdin.write(message)
        self.stdin.flush()

    def call(self, number: int, tool: str, arguments: dict[str, Any]) -> None:
        params = {"name": tool, "arguments": arguments}
        message = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}
        self.send(json.dumps(message).encode() + b"\n")

    def receive(self) -> Any:
        return json.loads(self.stdout.readline())

    def end(self) -> tuple[int, bytes]:
        """The exit code, and what was printed; the streams are left as they are."""
        code = self.process.wait(timeout=50)
        return code, self.stderr.read()


Begin = Callable[..., Talk]


@pytest.fixture
def begin(films: Path, shared_bundle: Path) -> Iterator[Begin]:
    """Begin a talk; it is ended after the test."""
    talks = []

    def start(program: str = _PROGRAM) -> Talk:
        talks.append(Talk(films, shared_bundle, program))
        return talks[-1]

    yield start
    for talk in talks:
        talk.process.kill()
        talk.process.wait()
        for stream in (talk.stdin, talk.stdout, talk.stderr):
            with suppress(OSError):
                stream.close()


_INVALID: list[tuple[bytes, int | str | None]] = [
    (b"words", None),
    (b"[]", None),
    (b"[" * 100_000, None),
    (b'{"jsonrpc":"2.0","id":"\\ud800","method":"ping"}', None),
    (b'[{"jsonrpc":"2.0","id":7,"method":"ping"}]', None),
    (b'{"jsonrpc":"2.0","id":7,"method":"ping","params":5}', 7),
    (b'{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"x":"\\ud83d"}}', "a"),
]


def test_messages_that_are_invalid_are_answered(begin: Begin) -> None:
    talk = begin()
    for message, number in _INVALID:
        talk.send(message + b"\n")
        answer = talk.receive()
        assert (answer["id"], answer["error"]["code"]) == (number, -32600), message[:80]
    talk.send(b'{"jsonrpc":"2.0","id":9,"method":"ping"}\n')
    assert talk.receive() == {"jsonrpc": "2.0", "id": 9, "result": {}}
    talk.stdin.close()
    assert talk.end() == (0, b"")


def test_only_tools_are_offered_and_unknown_ones_are_named(begin: Begin) -> None:
    talk = begin()
    for number, method in enumerate(("prompts/list", "prompts/get", "resources/read"), 5):
        params = '{"name":"x","uri":"file:///etc/passwd"}'
        line = f'{{"jsonrpc":"2.0","id":{number},"method":"{method}","params":{params}}}\n'
        talk.send(line.encode())
        assert talk.receive()["error"]["code"] == -32601
    talk.call(8, "fnid", {})
    answer = talk.receive()["result"]
    assert answer["isError"]
    assert "find, search, describe" in answer["content"][0]["text"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_talk_at_once(number: signal.Signals, begin: Begin) -> None:
    talk = begin(_SLOW)
    talk.call(2, "describe", {"video": "films/more/blue.mp4"})
    talk.send(b'{"jsonrpc":"2.0","id":3,"method":"ping"}\n')
    assert talk.receive()["id"] == 3
    talk.process.send_signal(number)
    assert talk.end() == (128 + number, b"vtloc-run: stopped\n")


def test_a_signal_ends_a_talk_that_nobody_reads(begin: Begin) -> None:
    talk = begin()
    os.set_blocking(talk.stdin.fileno(), False)
    with suppress(BlockingIOError):
        while os.write(talk.stdin.fileno(), b'{"jsonrpc":"2.0","id":3,"method":"tools/list"}\n'):
            pass
    talk.process.send_signal(signal.SIGTERM)
    assert talk.end() == (143, b"vtloc-run: stopped\n")


def test_the_end_of_input_ends_what_is_being_read(begin: Begin) -> None:
    talk = begin(_SLOW)
    talk.call(2, "describe", {"video": "films/more/blue.mp4"})
    talk.send(b'{"jsonrpc":"2.0","id":3,"method":"ping"}\n')
    assert talk.receive()["id"] == 3
    talk.stdin.close()
    assert talk.end() == (0, b"")


@pytest.mark.parametrize("open_input", [True, False])
def test_an_agent_that_has_gone_ends_the_talk(open_input: bool, begin: Begin) -> None:
    talk = begin()
    talk.stdout.close()
    talk.call(2, "describe", {})
    if not open_input:
        talk.stdin.close()
    code, printed = talk.end()
    # Nothing may be left to write by the time that input ends.
    assert code in ({141} if open_input else {0, 141})
    assert printed == b""


def test_standard_output_holds_the_protocol_alone(films: Path, shared_bundle: Path) -> None:
    code = (
        "import os; from vtloc_runtime.cli import mcp\n"
        "from vtloc_runtime.serve.service import Service\n"
        "find = Service.find\n"
        "def loud(*a, **k):\n"
        "    print('hello', end=''); os.write(1, b'hello\\n')\n"
        "    return find(*a, **k)\n"
        "Service.find = loud\n"
        "from vtloc_runtime.cli.main import main; main()"
    )
    messages = (
        '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18",'
        '"capabilities":{},"clientInfo":{"name":"test","version":"1"}}}\n'
        '{"jsonrpc":"2.0","method":"notifications/initialized"}\n'
        "this is not a message\n"
        '{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"find","arguments":'
        '{"video":"films/more/blue.mp4","sentence":"blue"}}}\n'
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, "mcp", str(films), "-b", str(shared_bundle)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(messages)
    process.stdin.flush()
    seen = []
    for line in process.stdout:
        seen.append(json.loads(line))
        if seen[-1].get("id") == 2:
            break
    process.stdin.close()
    seen += [json.loads(line) for line in process.stdout]
    assert process.wait(timeout=60) == 0
    assert all(message["jsonrpc"] == "2.0" for message in seen)
    assert not next(message for message in seen if message.get("id") == 2)["result"].get("isError")
