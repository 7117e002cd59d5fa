"""The child process that decodes: it may crash or swell without harm to anyone else.

Started by `decoder_process` with the file descriptor of a socket. It reads one video
after another and sends frames as plain bytes, so that nothing a video makes it say is trusted.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import sys
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec

from vtloc_runtime.errors import VideoError, VtlocError
from vtloc_runtime.video.isolation.chunks import FrameChunk, read_here

_SECONDS_BETWEEN_LOOKS = 5.0
_NEAR = 0.75
_RAISE_LIMIT = "It may need more memory: raise the limit with --decoder-memory"


class ChunkHead(msgspec.Struct, frozen=True, tag="chunk"):
    """Announces frames, whose bytes follow.

    Attributes:
        shape: ``(N, S, S, 3)``.
        times: When each came on screen, seconds.
    """

    shape: tuple[int, int, int, int]
    times: list[float]


class EndHead(msgspec.Struct, frozen=True, tag="end"):
    """The video has been read.

    Attributes:
        duration: When the last frame leaves the screen, seconds.
        warnings: What the reader had to say.
    """

    duration: float
    warnings: list[str]


class FailureHead(msgspec.Struct, frozen=True, tag="failure"):
    """The video cannot be read.

    Attributes:
        what: What went wrong.
        where: Where.
        remedy: What can be done.
    """

    what: str
    where: str | None
    remedy: str | None


Head = ChunkHead | EndHead | FailureHead


def serve(connection: Connection, memory: int) -> None:
    """Read videos as they are asked for, until the other side closes.

    Args:
        connection: Where they are asked for.
        memory: The limit of address space, bytes; 0 where there is none.
    """
    while True:
        try:
            # Requests come from the parent alone, which this process trusts.
            source, options, size = pickle.loads(connection.recv_bytes())  # noqa: S301 - as above
        except (EOFError, OSError):
            return
        try:
            _read(connection, source, options, size, memory)
        except BrokenPipeError:
            return
        except VtlocError as error:
            remedy = _RAISE_LIMIT if _near_limit(memory) else error.remedy
            _send(connection, FailureHead(error.what, error.where, remedy))
        except MemoryError:
            _send(connection, _out_of_memory(source))
        except Exception as error:  # noqa: BLE001 - it becomes that video's failure
            if "Cannot allocate memory" in str(error):
                _send(connection, _out_of_memory(source))
            else:
                _send(connection, FailureHead(f"{type(error).__name__}: {error}", source, None))


def _read(connection: Connection, source: str, options: Any, size: int, memory: int) -> None:
    for part in read_here(source, options, size):
        if isinstance(part, FrameChunk):
            first, height, width, channels = part.images.shape
            _send(connection, ChunkHead((first, height, width, channels), part.times.tolist()))
            connection.send_bytes(part.images.data.cast("B"))
        else:
            warnings = list(part.warnings)
            if warnings and _near_limit(memory):
                warnings.append("the decoder may have run out of memory")
            _send(connection, EndHead(part.duration, warnings))


def _send(connection: Connection, head: Head) -> None:
    connection.send_bytes(msgspec.msgpack.encode(head))


def _out_of_memory(source: str) -> FailureHead:
    error = VideoError(
        "decoding it takes more memory than the decoder may use",
        where=source,
        remedy=_RAISE_LIMIT,
    )
    return FailureHead(error.what, error.where, error.remedy)


def _near_limit(memory: int) -> bool:
    """Whether this process has come so close to its limit that it may have hit it.

    FFmpeg passes over what it finds no memory for, as it does over damage.
    """
    with contextlib.suppress(OSError, ValueError, IndexError):
        status = Path("/proc/self/status").read_text(encoding="ascii")
        peak = 1024 * int(status.split("VmPeak:")[1].split()[0])
        return memory > 0 and peak > _NEAR * memory
    return False


def _limit_memory(size: int) -> None:
    import resource

    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (size, size))


def _watch_parent() -> None:
    """End this process when its parent has died, even in the middle of a file that hangs."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    """Serve the socket named on the command line: descriptor, bytes of memory."""
    descriptor, memory = int(sys.argv[1]), int(sys.argv[2])
    # Ctrl-C goes to the whole group; the parent decides what happens then.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _watch_parent()
    if memory > 0:
        _limit_memory(memory)
    # A library that prints must not reach the results on standard output.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    with Connection(descriptor) as connection:
        serve(connection, memory)


if __name__ == "__main__":
    main()
