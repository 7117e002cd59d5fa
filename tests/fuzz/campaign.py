"""Runs a target's inputs in worker processes, and holds what comes of them to the promise.

Nothing but an error of vtloc's comes out, within 10 s of processor time, and within 300 MB more
than a good input takes; no other file is opened. A worker that crashes or hangs is replaced.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.fuzz.target import Input, Target
from tests.fuzz.worker import Outcome, serve
from vtloc_runtime.system.closing import Closing

SLOWEST = 10.0
"""Seconds of processor time."""
LARGEST = 300 * 10**6
"""Bytes beyond what a good input takes."""

_START_TIMEOUT = 300.0
# Other work may keep the processors busy, so the wall's clock only finds what no longer moves.
_HANG = 60.0
_RENEWED_AFTER = 500

Asked = int | str | Input


@dataclass(frozen=True, slots=True)
class Finding:
    """An input that broke the promise.

    Attributes:
        asked: Its number, or its name.
        kind: ``escaped``, ``touched``, ``slow``, ``large``, ``hang`` or ``crash``.
        detail: What happened.
        given: The input itself.
    """

    asked: Asked
    kind: str
    detail: str
    given: Input

    def __str__(self) -> str:
        name = self.asked if not isinstance(self.asked, Input) else "input"
        return f"{name}: {self.kind}: {self.detail}"


@dataclass(slots=True)
class Campaign:
    """What a campaign has seen so far.

    Attributes:
        counts: Inputs by what became of them.
        findings: Those that broke the promise.
        cpu: The most processor time of one input, seconds.
        wall: The longest that one took, seconds.
        memory: The most bytes beyond a good input's.
    """

    counts: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    cpu: float = 0.0
    wall: float = 0.0
    memory: int = 0

    @property
    def tried(self) -> int:
        """How many inputs were run."""
        return self.counts.total()

    def add(self, other: Campaign) -> None:
        """Take in what another one has seen."""
        self.counts += other.counts
        self.findings += other.findings
        self.cpu = max(self.cpu, other.cpu)
        self.wall = max(self.wall, other.wall)
        self.memory = max(self.memory, other.memory)


class Worker(Closing):
    """A worker process, and what is known of it."""

    def __init__(self, target: type[Target], *, hang: float = _HANG) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="fuzz-")
        self._hang = hang
        self._answers = False
        context = multiprocessing.get_context("spawn")
        self._line: Connection
        self._line, there = context.Pipe()
        self._process: BaseProcess = context.Process(
            target=serve, args=(there, target, self._folder.name), daemon=False
        )
        self._process.start()
        there.close()
        if not self._line.poll(_START_TIMEOUT):
            self.close()
            raise RuntimeError(f"the worker of {target.name} does not start")
        try:
            self.mark, self.known = self._line.recv()
        except EOFError:
            self.close()
            raise RuntimeError(f"the worker of {target.name} fails on a good input") from None
        self._answers = True
        self.tried = 0

    def run(self, asked: Asked) -> tuple[Outcome, Input]:
        """Run an input. The worker is of no more use after a crash or a hang."""
        began = time.monotonic()
        self._line.send(asked)
        self.tried += 1
        try:
            if self._line.poll(self._hang):
                return self._line.recv(), self._given()
            kind, detail = "hang", f"no answer for {self._hang:g} s"
        except (EOFError, ConnectionResetError):
            self._process.join(10)
            kind, detail = "crash", f"exit code {self._process.exitcode}"
        self._answers = False
        wall = time.monotonic() - began
        return Outcome(kind, detail, wall, 0.0, 0), self._given()

    def close(self) -> None:
        """End the process, with leave to close its files where it still answers."""
        if self._answers:
            with contextlib.suppress(OSError):
                self._line.send(None)
                self._process.join(10)
        self._process.kill()
        self._process.join()
        self._line.close()
        self._folder.cleanup()

    def _given(self) -> Input:
        for path in Path(self._folder.name).glob("input*"):
            return Input(path.read_bytes(), path.name.removeprefix("input"))
        return Input(b"")


def fuzz(
    target: type[Target], asked: Iterable[Asked] = (), *, known: bool = False, hang: float = _HANG
) -> Iterator[Campaign]:
    """Run a target's inputs; what has been seen so far comes after each.

    Args:
        target: What is fuzzed.
        asked: Numbers to make inputs from, or inputs.
        known: Run the target's known inputs first.
        hang: Seconds without an answer after which a worker is given up.
    """
    seen = Campaign()
    worker = Worker(target, hang=hang)
    try:
        for one in (*(worker.known if known else ()), *asked):
            outcome, given = worker.run(one)
            finding = _judge(one, outcome, given, worker.mark)
            _count(seen, outcome, finding, worker.mark)
            if worker.tried >= _RENEWED_AFTER or finding is not None:
                # What one input left behind must not be another's fault.
                worker.close()
                worker = Worker(target, hang=hang)
            yield seen
    finally:
        worker.close()


def _count(seen: Campaign, outcome: Outcome, finding: Finding | None, mark: int) -> None:
    seen.counts[outcome.kind if finding is None else finding.kind] += 1
    if finding is not None:
        seen.findings.append(finding)
    seen.cpu = max(seen.cpu, outcome.cpu)
    seen.wall = max(seen.wall, outcome.wall)
    seen.memory = max(seen.memory, outcome.memory - mark)


def _judge(asked: Asked, outcome: Outcome, given: Input, mark: int) -> Finding | None:
    kind, detail = outcome.kind, outcome.detail
    if kind in {"accepted", "refused"}:
        if outcome.cpu > SLOWEST:
            kind, detail = "slow", f"{outcome.cpu:.1f} s of processor time"
        elif outcome.memory - mark > LARGEST:
            kind, detail = "large", f"{(outcome.memory - mark) / 1e6:.0f} MB more than a good one"
        else:
            return None
    return Finding(asked, kind, detail, given)
