"""The process in which a target meets its inputs, and may crash, hang or swell."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import sysconfig
import time
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.target import Input, Target
from vtloc_runtime.errors import VtlocError

ADDRESS_SPACE = 12 * 2**30
_PROJECT = Path(__file__).parents[2]
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one input.

    Attributes:
        kind: ``accepted``, ``refused`` by an error of vtloc's, ``escaped`` (any other exception),
            or ``touched`` (a file, a connection or a program that is none of its business).
        detail: The exception, or what was touched.
        wall: Seconds that passed.
        cpu: Seconds of processor time, decoders included.
        memory: The most bytes that the processes have held so far.
    """

    kind: str
    detail: str
    wall: float
    cpu: float
    memory: int


class Watch:
    """Notes files, connections and programs that Python opens while an input is read."""

    def __init__(self, folder: Path) -> None:
        self.touched: list[str] = []
        self._on = False
        roots = {sys.prefix, sys.base_prefix, *sysconfig.get_paths().values(), *sys.path}
        self._allowed = (
            str(folder),
            *(os.path.realpath(root) for root in roots if root),
            *("/proc/self/", "/sys/fs/cgroup/", "/sys/devices/system/", "/dev/null"),
            f"/proc/{os.getpid()}/",
        )
        self._exactly = {"/proc/cpuinfo", "/proc/meminfo", "/etc/localtime"}
        sys.addaudithook(self._hear)

    def __enter__(self) -> None:
        self.touched = []
        self._on = True

    def __exit__(self, *_: object) -> None:
        self._on = False

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._on:
            return
        if event in {"open", "os.listdir", "os.scandir"} and isinstance(arguments[0], str | bytes):
            path = str(Path(os.fsdecode(arguments[0])).absolute())
            if path not in self._exactly and not path.startswith(self._allowed):
                self.touched.append(f"{event} {path}")
        elif event in {"socket.connect", "socket.getaddrinfo", "os.system", "os.exec"}:
            self.touched.append(f"{event} {arguments}")


def serve(line: Connection, target_class: type[Target], folder: str) -> None:
    """Run inputs as they are asked for: numbers, names of known ones, or inputs themselves.

    Each is written to ``folder`` before it is run, so that it can be had after a crash.
    """
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    os.environ["RUST_BACKTRACE"] = "0"
    place = Path(folder)
    (place / "files").mkdir()
    os.chdir(place)
    target = target_class(place / "files")
    for good in target.good()[:1]:
        target.run(good)
    watch = Watch(place)
    known = dict(target.known())
    line.send((_memory(target), tuple(known)))
    while (asked := line.recv()) is not None:
        if isinstance(asked, int):
            given = target.make(Random(f"{target.name} {asked}"))
        else:
            given = known[asked] if isinstance(asked, str) else asked
        for old in place.glob("input*"):
            old.unlink()
        (place / f"input{given.suffix}").write_bytes(given.content)
        line.send(run(target, given, watch))
    target.close()


def run(target: Target, given: Input, watch: Watch) -> Outcome:
    """Run one input, whatever comes of it."""
    wall, cpu = time.monotonic(), _processor_time(target)
    kind, detail = "accepted", ""
    try:
        with watch:
            target.run(given)
    except VtlocError as error:
        # Whatever shows an error must be able to.
        kind, detail = "refused", f"{type(error).__name__}: {error}"
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - this is what is looked for
        kind, detail = "escaped", _describe(error)
    if watch.touched:
        kind, detail = "touched", ", ".join(sorted(set(watch.touched))[:3])
    return Outcome(
        kind,
        detail[:1000],
        time.monotonic() - wall,
        max(0.0, _processor_time(target) - cpu),
        _memory(target),
    )


def _describe(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename.startswith(str(_PROJECT))]
    at = f"{Path(own[-1].filename).relative_to(_PROJECT)}:{own[-1].lineno}" if own else "?"
    return f"{type(error).__name__} at {at}: {error}"


def _processor_time(target: Target) -> float:
    own = resource.getrusage(resource.RUSAGE_SELF)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime
    for process in target.processes():
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            spent += (int(fields[11]) + int(fields[12])) / _TICKS
    return spent


def _memory(target: Target) -> int:
    """Bytes that the processes have held at most."""
    held = 0
    for process in ("self", *target.processes()):
        with contextlib.suppress(OSError, IndexError):
            status = Path(f"/proc/{process}/status").read_text()
            held += 1024 * int(status.split("VmHWM:")[1].split()[0])
    return held
