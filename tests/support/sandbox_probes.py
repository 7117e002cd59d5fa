"""What a process in the decoders' sandbox can still do, tried from inside."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

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
said = {"held": report.held, "missing": report.missing, "denied": {}, "allowed": {}}
for kind, probes in ("denied", denied), ("allowed", allowed):
    for name, probe in probes.items():
        try:
            probe()
            said[kind][name] = "done"
        except (OSError, ValueError) as error:
            said[kind][name] = f"denied: {error}"
os.write(2, json.dumps(said).encode())
os._exit(0)
"""


@dataclass(frozen=True, slots=True)
class Probed:
    """What came of every attempt.

    Attributes:
        held: Layers that were in force.
        missing: Layers that were not, with the reason.
        denied: What must not be possible: attempt and outcome.
        allowed: What decoding needs: attempt and outcome.
        connections: How many connections came to a server that listened meanwhile.
        left: Names in the folder afterwards; ``inside`` alone was there before.
    """

    held: dict[str, str]
    missing: dict[str, str]
    denied: dict[str, str]
    allowed: dict[str, str]
    connections: int
    left: list[str]


def probe_sandbox(folder: Path) -> Probed:
    """Try everything in a process that enters the sandbox.

    Args:
        folder: An empty folder for the attempts.
    """
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
        connections = 0
        try:
            while True:
                server.accept()[0].close()
                connections += 1
        except TimeoutError:
            pass
    said = json.loads(done.stderr)
    left = sorted(path.name for path in folder.iterdir())
    return Probed(said["held"], said["missing"], said["denied"], said["allowed"], connections, left)
