"""``vtloc-run serve`` as a process: it starts, stops gracefully, and says what is wrong."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.waiting import eventually

ROOT = Path(__file__).parents[3]


class Process:
    """A service that runs on a free port, each question taking at least ``slow`` seconds."""

    def __init__(self, *words: object, slow: float = 0.0) -> None:
        command = [sys.executable, "-m", "tests.support.slow_service", str(slow), "serve"]
        self.process = subprocess.Popen(
            [*command, "--port", "0", *map(str, words)],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        self.said = ""
        self.address = ""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said += line
            if found := re.search(r"serving at (http://\S+)", line):
                self.address = found[1]
                break

    def ask(self, video: str = "films/more/blue.mp4") -> httpx.Response:
        body = {"video": video, "queries": ["blue"]}
        return httpx.post(f"{self.address}/v1/moments", json=body, timeout=60)

    def in_progress(self) -> float:
        """Requests that it has accepted and not answered."""
        text = httpx.get(f"{self.address}/metrics").text
        found = re.search(r"^vtloc_requests_in_progress (\S+)$", text, re.MULTILINE)
        assert found is not None, text
        return float(found[1])

    def refuses(self) -> bool:
        """Whether it takes no more connections."""
        try:
            self.ask()
        except httpx.ConnectError:
            return True
        except httpx.TransportError:
            # It reached the port just before that was closed.
            return False
        return False

    def end(self) -> int:
        code = self.process.wait(timeout=60)
        assert self.process.stderr is not None
        self.said += self.process.stderr.read()
        return code


@pytest.fixture
def run(shared_bundle: Path) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def begin(*words: object, slow: float = 0.0) -> Process:
        started.append(Process(*words, "-b", shared_bundle, slow=slow))
        return started[-1]

    yield begin
    for one in started:
        one.process.kill()
        one.process.communicate()


def test_a_signal_ends_accepted_work_and_refuses_new(
    run: Callable[..., Process], films: Path
) -> None:
    service = run(films, "--workers", 1, slow=1.5)
    answers: list[Any] = []
    threads = [threading.Thread(target=lambda: answers.append(service.ask())) for _ in range(2)]
    for thread in threads:
        thread.start()
    eventually(lambda: service.in_progress() == 2)
    service.process.send_signal(signal.SIGTERM)
    eventually(service.refuses)
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [200, 200]
    assert service.end() == 143
    assert "Traceback" not in service.said


def test_questions_beyond_the_queue_are_turned_away(
    run: Callable[..., Process], films: Path
) -> None:
    service = run(films, "--workers", 1, "--waiting", 1, slow=3.0)
    answers: list[httpx.Response] = []
    threads = [threading.Thread(target=lambda: answers.append(service.ask())) for _ in range(2)]
    for thread in threads:
        thread.start()
    eventually(lambda: service.in_progress() == 2)
    refused = [service.ask() for _ in range(4)]
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [200, 200]
    assert [answer.status_code for answer in refused] == [503] * 4
    assert all(answer.headers["retry-after"] for answer in refused)
    service.process.send_signal(signal.SIGINT)
    assert service.end() == 130


def test_it_listens_on_this_machine_only_unless_told_otherwise(
    run: Callable[..., Process], films: Path
) -> None:
    service = run(films)
    assert service.address.startswith("http://127.0.0.1:")
    assert "warning" not in service.said
    other = run(films, "--host", "0.0.0.0")
    assert "reachable from other machines" in other.said
    port = other.address.rpartition(":")[2]
    assert httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200


def test_a_port_in_use_is_an_error(run: Callable[..., Process], films: Path) -> None:
    service = run(films)
    port = service.address.rpartition(":")[2]
    other = run(films, "--port", port)
    assert other.end() == 6
    assert "cannot listen" in other.said
    assert "Traceback" not in other.said


def test_a_folder_that_is_none_is_an_error(run: Callable[..., Process], films: Path) -> None:
    service = run(films / "gone")
    assert service.end() == 2
    assert "not a folder" in service.said


def test_uploads_do_not_outlive_the_service(
    run: Callable[..., Process], films: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    service = run(films)
    content = (films / "more" / "blue.mp4").read_bytes()
    headers = {"Content-Type": "video/mp4"}
    sent = httpx.post(f"{service.address}/v1/videos?name=a.mp4", content=content, headers=headers)
    assert service.ask(sent.json()["video"]).status_code == 200
    assert list(tmp_path.glob("vtloc-uploads-*/*"))
    service.process.send_signal(signal.SIGTERM)
    assert service.end() == 143
    assert not list(tmp_path.glob("vtloc-uploads-*"))
