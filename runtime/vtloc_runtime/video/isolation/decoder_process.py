"""Decoding in a process of its own, with limits: a file that crashes it costs its own job only."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import msgspec
import numpy as np

from vtloc_runtime.errors import DecoderLostError, VideoError
from vtloc_runtime.video.isolation.chunks import FrameChunk, Reading, ReadingEnd
from vtloc_runtime.video.isolation.decoder_child import ChunkHead, EndHead, FailureHead, Head

if TYPE_CHECKING:
    from vtloc_runtime.video import VideoOptions

_MODULE = "vtloc_runtime.video.isolation.decoder_child"
_LARGEST_MESSAGE = 2**31 - 1


@dataclass(frozen=True, slots=True)
class DecoderLimits:
    """How far a decoder may go for one video.

    Attributes:
        memory: Bytes of address space; 0 sets no limit.
        patience: Seconds without a new frame after which it is given up.
    """

    memory: int = 4 * 2**30
    patience: float = 120.0


class DecoderProcess:
    """A child process that reads videos, one at a time; started anew when it is lost.

    It begins with the first video, so that a run whose videos are all cached starts none. One
    thread uses it at a time; ``close`` may be called from any.

    Args:
        limits: How far it may go.
    """

    def __init__(self, limits: DecoderLimits | None = None) -> None:
        self._limits = limits or DecoderLimits()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._closed = False
        self._reading = False
        self._lock = threading.Lock()

    def read(self, source: Any, options: VideoOptions, size: int) -> Reading:
        """Read a video over there.

        Args:
            source: A path or an address.
            options: How to sample it.
            size: Frames in one chunk at most.

        Raises:
            VideoError: The video cannot be read, or reading it crashed the decoder, took too
                much memory, or came to no end.
        """
        connection = self._start()
        finished, self._reading = False, True
        try:
            connection.send_bytes(pickle.dumps((source, options, size)))
            while True:
                head = self._head(connection, source)
                if isinstance(head, FailureHead):
                    finished = True
                    raise VideoError(head.what, where=head.where, remedy=head.remedy)
                if isinstance(head, EndHead):
                    finished = True
                    yield ReadingEnd(head.duration, tuple(head.warnings))
                    return
                yield self._chunk(connection, head)
        except (EOFError, OSError, msgspec.MsgspecError) as error:
            raise self._loss(source) from error
        finally:
            self._reading = False
            if not finished:
                # Whatever is still under way belongs to a video that nobody waits for.
                self._stop()

    def close(self) -> None:
        """End the process; a reading that waits for it fails."""
        self._closed = True
        self._stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _head(self, connection: Connection, source: Any) -> Head:
        if not connection.poll(self._limits.patience):
            raise VideoError(
                f"the decoder gave no frame for {self._limits.patience:g} s and was stopped",
                where=source,
                remedy="Raise the limit with --decoder-patience, or repair the file",
            )
        message = connection.recv_bytes(_LARGEST_MESSAGE)
        return msgspec.msgpack.decode(message, type=ChunkHead | EndHead | FailureHead)

    def _chunk(self, connection: Connection, head: ChunkHead) -> FrameChunk:
        content = connection.recv_bytes(_LARGEST_MESSAGE)
        if len(content) != int(np.prod(head.shape)) or len(head.times) != head.shape[0]:
            raise OSError("the decoder sent something else than it said")
        images = np.frombuffer(content, dtype=np.uint8).reshape(head.shape)
        return FrameChunk(images, np.array(head.times, dtype=np.float64))

    def _loss(self, source: Any) -> VideoError:
        """Why the process is gone."""
        process = self._process
        if self._closed or process is None:
            return VideoError("reading was stopped", where=source)
        try:
            code = process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            code = 0
        kind = DecoderLostError if code < 0 else VideoError
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        return kind(
            f"decoding it crashed the decoder (ended {how})",
            where=source,
            remedy="The file is damaged or hostile; repair it, or raise --decoder-memory",
        )

    def _start(self) -> Connection:
        with self._lock:
            if self._closed:
                raise VideoError("reading was stopped")
            if self._process is not None and self._process.poll() is not None:
                self._forget()
            if self._connection is None:
                self._connection, self._process = _spawn(self._limits.memory)
            return self._connection

    def _stop(self) -> None:
        with self._lock:
            process = self._process
            if process is not None:
                process.kill()
                process.wait()
            # Whoever still reads from it sees its end, and closes it.
            if not self._reading:
                self._forget()

    def _forget(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._process = self._connection = None


def _spawn(memory: int) -> tuple[Connection, subprocess.Popen[bytes]]:
    here, there = socket.socketpair()
    with there:
        process = subprocess.Popen(  # noqa: S603 - the interpreter at hand, and numbers
            [sys.executable, "-m", _MODULE, str(there.fileno()), str(memory)],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[there.fileno()],
            # The child finds this package wherever this process found it.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
    return Connection(here.detach()), process
