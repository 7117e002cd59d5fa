"""Start decoder processes with only what decoding needs.

The child finds the standard library and the packages that it needs, by the folders in which this
process found them, and no other code: not in the current directory, not by ``PYTHONPATH``, not
through ``site``. Of the environment it gets what the loader and the locale need.
"""

from __future__ import annotations

import fcntl
import os
import queue
import socket
import subprocess
import sys
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from vtloc_runtime.errors import BackendError

_BOOT = (
    "import signal, sys\n"
    "for name in ('SIGINT', 'SIGTERM', 'SIGHUP'): "
    "signal.signal(getattr(signal, name), signal.SIG_IGN)\n"
    "sys.path += sys.argv[5:]\n"
    "from vtloc_runtime.video.isolation.decoder_child import main\n"
    "main(*map(int, sys.argv[1:5]))\n"
)
_STANDARD_ERROR = 2
_PACKAGES = ("vtloc_runtime", "av", "numpy", "msgspec")
_GPU_PACKAGES = ("PyNvVideoCodec", "cuda")

_PASSED_ON = {
    "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TZ",
    "VTLOC_DEBUG",
}  # fmt: skip
_PASSED_ON_FOR_GPU = ("CUDA_", "NVIDIA_", "NV_", "PATH", "HOME")
# A library's idle threads would be outside the sandbox, and decoding has its own.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
# One heap for all threads: the others would reserve address space, which the limit counts. On a GPU
# there is no such limit, and many threads.
_ONE_HEAP = {"MALLOC_ARENA_MAX": "1"}


@dataclass(frozen=True, slots=True)
class Child:
    """A process that was started.

    Attributes:
        process: The process.
        line: This end of the socket to it.
        words: Where its standard error comes out.
    """

    process: subprocess.Popen[bytes]
    line: socket.socket
    words: int


def start_child(memory: int, *, gpu: bool) -> Child:
    """Start a decoder process.

    Args:
        memory: Bytes of address space; 0 sets no limit.
        gpu: It decodes on a GPU.

    Raises:
        BackendError: No process can be started.
    """
    # The kernel ends the child with the thread that started it, so that thread must last.
    return _STARTER.call(memory, gpu)


def child_environment(*, gpu: bool) -> dict[str, str]:
    """The environment variables of a decoder process, without secrets.

    Args:
        gpu: It decodes on a GPU.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _PASSED_ON or (gpu and name.startswith(_PASSED_ON_FOR_GPU))
    }
    return {**kept, **_ONE_THREAD, **({} if gpu else _ONE_HEAP)}


def _command(memory: int, *, gpu: bool, line: int) -> list[str]:
    if not sys.executable:
        raise BackendError(
            "cannot start a decoder process: sys.executable is empty",
            remedy="Set sys.executable to the path of a Python interpreter",
        )
    # -I: no current directory, no PYTHON* variables, no packages of the user.
    options = ["-I", "-X", "utf8"]
    if not gpu:
        # No site: what lies in its folders can run code, and is not needed. NVIDIA's packages
        # look for their libraries there.
        options.append("-S")
    if sys.dont_write_bytecode:
        options.append("-B")
    numbers = (line, memory, int(gpu), os.getpid())
    packages = _PACKAGES + (_GPU_PACKAGES if gpu else ())
    return [sys.executable, *options, "-c", _BOOT, *map(str, numbers), *_roots(packages)]


def _roots(packages: tuple[str, ...]) -> list[str]:
    """The folders in which this process finds packages, absolute."""
    roots: dict[str, None] = {}
    for package in packages:
        try:
            spec = find_spec(package)
        except (ImportError, ValueError):
            continue
        for place in (spec.submodule_search_locations if spec else None) or ():
            roots[str(Path(place).resolve().parent)] = None
    return list(roots)


def _start(memory: int, gpu: bool) -> Child:
    here, there = (_above_standard(end) for end in socket.socketpair())
    words, mouth = os.pipe()
    try:
        # A process that says a lot must not wait until somebody listens.
        os.set_blocking(mouth, False)
        process = subprocess.Popen(  # noqa: S603 - the interpreter at hand, numbers and folders
            _command(memory, gpu=gpu, line=there.fileno()),
            stdin=subprocess.DEVNULL,
            # A library that prints must not reach the results on standard output.
            stdout=subprocess.DEVNULL,
            stderr=mouth,
            pass_fds=[there.fileno()],
            cwd="/",
            env=child_environment(gpu=gpu),
            # Signals to the terminal's group, or to a service's, are for the parent.
            start_new_session=True,
        )
    except BaseException as error:
        here.close()
        os.close(words)
        if isinstance(error, OSError):
            raise BackendError(
                f"the decoder process cannot be started: {error.strerror}",
                remedy="Check the limits on processes, memory and open files",
            ) from error
        raise
    finally:
        there.close()
        os.close(mouth)
    return Child(process, here, words)


def _above_standard(end: socket.socket) -> socket.socket:
    """The same socket under a number that is not one of the standard streams'.

    Where this process was started without those, new descriptors take their places.
    """
    if end.fileno() > _STANDARD_ERROR:
        return end
    with end:
        moved = fcntl.fcntl(end.fileno(), fcntl.F_DUPFD_CLOEXEC, _STANDARD_ERROR + 1)
        return socket.socket(fileno=moved)


class _Starter:
    """Runs ``_start`` in one thread that lives as long as this process."""

    def __init__(self) -> None:
        self._forget()
        if hasattr(os, "register_at_fork"):
            # A forked process has none of the threads.
            os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._wanted: queue.SimpleQueue[tuple[int, bool, Future[Child]]] = queue.SimpleQueue()

    def call(self, memory: int, gpu: bool) -> Child:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="decoder starter", daemon=True
                )
                self._thread.start()
        future: Future[Child] = Future()
        self._wanted.put((memory, gpu, future))
        return future.result()

    def _run(self) -> None:
        while True:
            memory, gpu, future = self._wanted.get()
            try:
                future.set_result(_start(memory, gpu))
            except BaseException as error:  # noqa: BLE001 - raised again where it was asked for
                future.set_exception(error)


_STARTER = _Starter()
