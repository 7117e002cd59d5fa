"""What a process inside the sandbox can still do, tried from inside."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vtloc_runtime.video.isolation.sandbox import LAYERS, SandboxReport

ON_LINUX = sys.platform == "linux" and platform.machine() in {"x86_64", "aarch64"}

# Standard error is the only descriptor that a process in the sandbox may write to.
PROBES = """
import fcntl, json, mmap, os, resource, socket, sys, threading, time
from vtloc_runtime.video.isolation.sandbox import enter_sandbox

parent, folder, port = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
inside = os.open(folder + "/inside", os.O_RDWR)
there, here = socket.socketpair()
tcp = socket.socket()


def start_thread():
    done = threading.Event()
    threading.Thread(target=done.set).start()
    if not done.wait(10):
        raise OSError("the thread did not run")


def exchange():
    here.send(b"x")
    if there.recv(1) != b"x":
        raise OSError("nothing came")


denied = {
    "read a file": lambda: open("/etc/hostname").read(),
    "write a file": lambda: open(folder + "/outside", "w"),
    "write to an open file": lambda: os.write(inside, b"x"),
    "lengthen an open file": lambda: os.ftruncate(inside, 100),
    "list a folder": lambda: os.listdir("/"),
    "look a file up": lambda: os.stat("/etc/passwd"),
    "remove a file": lambda: os.unlink(folder + "/inside"),
    "rename a file": lambda: os.rename(folder + "/inside", folder + "/other"),
    "connect": lambda: tcp.connect(("127.0.0.1", port)),
    "open a socket": lambda: socket.socket(socket.AF_UNIX),
    "fork": os.fork,
    "run a program": lambda: os.execv("/bin/true", ["true"]),
    "signal the parent": lambda: os.kill(parent, 0),
    "read the parent's memory": lambda: open(f"/proc/{parent}/mem", "rb"),
    "read the parent's environment": lambda: open(f"/proc/{parent}/environ", "rb"),
    "raise a limit": lambda: resource.setrlimit(resource.RLIMIT_CORE, (-1, -1)),
    "make memory run": lambda: mmap.mmap(-1, 4096, prot=7),
    "own a descriptor's signals": lambda: fcntl.fcntl(here, 8, parent),
    "change folder": lambda: os.chdir("/tmp"),
    "become another user": lambda: os.setuid(1),
}
allowed = {
    "start a thread": start_thread,
    "exchange with the parent": exchange,
    "read an open file": lambda: os.pread(inside, 1, 0),
    "take memory": lambda: bytearray(50_000_000),
    "tell the time": lambda: time.sleep(0.001),
}
report = enter_sandbox(orphaned=None, gpu=False)
found = {}
for name, probe in {**denied, **allowed}.items():
    try:
        probe()
        found[name] = "done"
    except (OSError, ValueError) as error:
        found[name] = f"denied: {error}"
said = {"held": report.held, "missing": report.missing, "found": found, "denied": list(denied)}
os.write(2, json.dumps(said).encode())
os._exit(0)
"""


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    import socket

    folder = tmp_path_factory.mktemp("probes")
    (folder / "inside").write_text("inside")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-c", PROBES, str(os.getpid()), str(folder), str(port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            # Threads of a library would be outside.
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            timeout=60,
            check=True,
        )
        server.settimeout(0.1)
        with pytest.raises(TimeoutError):
            server.accept()
    found: dict[str, Any] = json.loads(done.stderr)
    found["left"] = sorted(path.name for path in folder.iterdir())
    return found


@pytest.mark.skipif(not ON_LINUX, reason="the filter knows Linux on these processors")
def test_nothing_outside_can_be_reached(probed: dict[str, Any]) -> None:
    if "seccomp" not in probed["held"]:
        pytest.skip(f"the kernel has no filter here: {probed['missing']}")
    found = probed["found"]
    assert {name: found[name] for name in probed["denied"] if found[name] == "done"} == {}
    assert probed["left"] == ["inside"]


@pytest.mark.skipif(not ON_LINUX, reason="the filter knows Linux on these processors")
def test_what_decoding_needs_still_works(probed: dict[str, Any]) -> None:
    found = probed["found"]
    expected = set(found) - set(probed["denied"])
    assert {name for name in expected if found[name] == "done"} == expected


def test_every_layer_is_accounted_for(probed: dict[str, Any]) -> None:
    assert set(probed["held"]) | set(probed["missing"]) == set(LAYERS)
    assert not set(probed["held"]) & set(probed["missing"])


def test_a_second_thread_would_be_outside_and_is_said(tmp_path: Path) -> None:
    code = """
import os, threading, time
from vtloc_runtime.video.isolation.sandbox import enter_sandbox
threading.Thread(target=time.sleep, args=(30,), daemon=True).start()
report = enter_sandbox(orphaned=None, gpu=False)
print(report, flush=True)
os._exit(0)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        timeout=60,
        check=True,
    )
    assert "without landlock (1 other threads run already)" in done.stdout
    assert "seccomp (1 other threads run already)" in done.stdout


def test_a_report_says_what_holds_and_what_does_not() -> None:
    whole = SandboxReport(dict.fromkeys(LAYERS, ""))
    assert whole.complete
    assert str(whole).startswith("complete (parent-death, ")
    part = SandboxReport({"landlock": "ABI 3"}, {"seccomp": "no filter for riscv64 processors"})
    assert not part.complete
    assert str(part) == "landlock ABI 3; without seccomp (no filter for riscv64 processors)"
