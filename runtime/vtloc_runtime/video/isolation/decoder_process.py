"""Decode in a sandboxed process, so that a hostile file fails only its own job."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from vtloc_runtime.errors import (
    BackendError,
    UsageError,
    VideoError,
    VtlocError,
)
from vtloc_runtime.system.closing import Closing
from vtloc_runtime.video.isolation.channel import Channel, Deadline, DeadlineError, NonsenseError
from vtloc_runtime.video.isolation.conversation import Conversation
from vtloc_runtime.video.isolation.launch import start_child
from vtloc_runtime.video.isolation.limits import DecoderLimits
from vtloc_runtime.video.isolation.messages import NEW_LINE, Ready
from vtloc_runtime.video.isolation.process_loss import lost_at_start, lost_with_video
from vtloc_runtime.video.isolation.sandbox_report import SandboxReport, remember_sandbox
from vtloc_runtime.video.isolation.video_file import VideoFile, open_video_file
from vtloc_runtime.video.options import VideoOptions

if TYPE_CHECKING:
    from vtloc_runtime.video.cutting import Clip, CutOptions
    from vtloc_runtime.video.film_facts import FilmFacts
    from vtloc_runtime.video.isolation.chunks import Reading
    from vtloc_runtime.video.isolation.delivery import Delivery
    from vtloc_runtime.video.isolation.exchange import Exchange

__all__ = ["DecoderLimits", "DecoderProcess"]

_START_TIMEOUT = 120.0
_END_TIMEOUT = 5.0

_PIECES = 4
"""Pieces of a clip that may wait in the process until they are received."""

_Answer = TypeVar("_Answer")


class DecoderProcess(Closing):
    """A child process that reads one video at a time; it is restarted when it is lost.

    It begins with the first video, so that a run whose videos are all cached starts none. A second
    reading while one is under way is refused. ``close`` may be called from any thread.

    Args:
        limits: How far it may go.
    """

    def __init__(self, limits: DecoderLimits | None = None) -> None:
        self._limits = limits or DecoderLimits()
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._gpu = False
        self._fresh = True
        self._sandbox = SandboxReport()
        self._owner = os.getpid()
        self._numbers = itertools.count(1)
        self._closed = False
        self._busy = threading.Lock()
        self._state = threading.Lock()

    def read(self, source: Any, options: VideoOptions, size: int) -> Reading:
        """Read a video in the child process.

        Args:
            source: Whatever ``vtloc_runtime.video.open_video`` takes. An address is downloaded
                first: the process has no network.
            options: How to sample it.
            size: Pictures in one chunk at most.

        Raises:
            VideoError: The video cannot be read, or reading it crashed the decoder, took too
                much memory or time, or came to no end.
            DecoderLostError: Somebody else ended the process; the video may be tried again.
            UsageError: Another reading is under way.
            BackendError: The process does not start, or lacks a sandbox that is required.
        """
        with self._alone():
            yield from self._read(source, self._limits.narrow(options), size)

    def describe(self, source: Any) -> FilmFacts:
        """What a film's header says.

        Args:
            source: A path, bytes or an open file.

        Raises:
            VideoError, DecoderLostError, UsageError, BackendError: As for :meth:`read`.
        """
        with self._alone():
            return self._deliver(source, None, lambda delivery: delivery.facts())

    def cut(self, source: Any, options: CutOptions) -> Clip:
        """Cut a clip out of a film.

        Args:
            source: A path, bytes or an open file.
            options: What to cut.

        Raises:
            VideoError: The film cannot be read, has nothing there, or does not fit the container.
            DecoderLostError, UsageError, BackendError: As for :meth:`read`.
        """
        with self._alone():
            return self._deliver(source, options, lambda delivery: delivery.clip())

    def start(self, *, gpu: bool = False) -> SandboxReport:
        """Start the process now, and return the layers of its sandbox.

        Args:
            gpu: It will decode on a GPU, which leaves little of the sandbox.

        Raises:
            UsageError: A reading is under way.
            BackendError: The process does not start, or lacks a sandbox that is required.
        """
        if not self._busy.acquire(blocking=False):
            raise UsageError("the decoder process is busy with a video")
        try:
            self._started(gpu=gpu)
            return self._sandbox
        finally:
            self._busy.release()

    def open_line(self) -> Channel:
        """Another line to a process on a GPU, for a video that is read beside others.

        Raises:
            OSError, DeadlineError: The process has gone, or does not answer.
            UsageError: It is busy with a video of its own.
            BackendError: It does not start, or lacks a sandbox that is required.
        """
        if not self._busy.acquire(blocking=False):
            raise UsageError("the decoder process is busy with a video")
        try:
            control = self._started(gpu=True)
            # What it says is thrown away once the pipe is full.
            control.last_words()
            here, there = socket.socketpair()
            with there:
                try:
                    control.send(NEW_LINE, b"", there.fileno(), Deadline(_END_TIMEOUT))
                except BaseException:
                    here.close()
                    raise
            return Channel(here, None)
        finally:
            self._busy.release()

    def close(self) -> None:
        """End the process; a reading in progress fails."""
        self._closed = True
        self._stop()
        if self._busy.acquire(blocking=False):
            # Nobody reads, so nobody else gives the line back.
            try:
                self._forget()
            finally:
                self._busy.release()

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Do one thing at a time."""
        if not self._busy.acquire(blocking=False):
            raise UsageError(
                "the decoder process is busy with another video",
                remedy="Use one DecoderProcess for each video that is read at the same time",
            )
        try:
            yield
        finally:
            self._busy.release()

    def _read(self, source: Any, options: VideoOptions, size: int) -> Reading:
        begun = time.monotonic()
        with open_video_file(source, options, self._limits.timeout) as video:
            try:
                yield from self.converse(video, options, size, begun)
            except _EarlierLossError:
                yield from self.converse(video, options, size, begun)

    def converse(self, video: VideoFile, options: VideoOptions, size: int, begun: float) -> Reading:
        """Read an open video in a running process.

        Args:
            video: The video.
            options: How to sample it, within the limits.
            size: Pictures in one chunk at most.
            begun: When the reading began, by the monotonic clock.

        Raises:
            VideoError, UsageError, BackendError: As for :meth:`read`.
        """
        channel = self._started(gpu=options.decoder != "cpu")
        conversation = Conversation(
            channel,
            next(self._numbers),
            options,
            size,
            name=video.name,
            timeout=self._limits.timeout,
            begun=begun,
        )
        with self._watched(conversation, video):
            yield from conversation.read(video)

    def _deliver(
        self, source: Any, options: CutOptions | None, receive: Callable[[Delivery], _Answer]
    ) -> _Answer:
        """Ask for something other than frames."""
        # Imported here, because most processes give frames alone.
        from vtloc_runtime.video.isolation.delivery import Delivery

        begun = time.monotonic()
        limits = self._limits.narrow(VideoOptions()).limits

        def deliver() -> _Answer:
            delivery = Delivery(
                self._started(gpu=False),
                next(self._numbers),
                name=video.name,
                timeout=self._limits.timeout,
                wall=limits.wall_seconds,
                begun=begun,
            )
            with self._watched(delivery, video), delivery.asked(video, options, _PIECES):
                return receive(delivery)

        with open_video_file(source, VideoOptions(), self._limits.timeout) as video:
            try:
                return deliver()
            except _EarlierLossError:
                return deliver()

    @contextlib.contextmanager
    def _watched(self, exchange: Exchange, video: VideoFile) -> Iterator[None]:
        """Say why the process was lost, if it is, and end it where it is not ready for more."""
        fresh, self._fresh = self._fresh, False
        try:
            yield
        except (EOFError, OSError) as error:
            if not (fresh or exchange.heard or self._closed):
                # It may have died of the video before this one.
                raise _EarlierLossError from error
            raise self._loss(video.name) from error
        finally:
            # What is still under way belongs to a video that nobody waits for.
            if not exchange.over or exchange.near_limit:
                self._stop()
                self._forget()

    def _loss(self, name: str) -> VideoError:
        """Find out why the process was lost."""
        process, channel = self._process, self._channel
        if self._closed or process is None or channel is None:
            return VideoError("reading was stopped", where=name)
        code = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = process.wait(timeout=_END_TIMEOUT)
        return lost_with_video(code, "" if code is None else channel.last_words(), name)

    def _started(self, *, gpu: bool) -> Channel:
        """The connection to a process that is ready."""
        if self._owner != os.getpid():
            raise UsageError(
                "a decoder process belongs to the process that made it",
                remedy="Make a DecoderProcess after the fork",
            )
        with self._state:
            if self._closed:
                raise VideoError("reading was stopped")
            if self._process is not None and (self._process.poll() is not None or self._gpu != gpu):
                self._end()
            if self._channel is not None:
                return self._channel
            child = start_child(self._limits.memory, gpu=gpu)
            channel = Channel(
                child.line, child.words, _echo if os.environ.get("VTLOC_DEBUG") else None
            )
            self._process, self._channel, self._gpu = child.process, channel, gpu
            self._fresh = True
        try:
            self._greet(channel)
        except BaseException:
            self._stop()
            self._forget()
            raise
        return channel

    def _greet(self, channel: Channel) -> None:
        """Receive the message that the process is ready, with the layers of its sandbox."""
        try:
            ready = channel.receive(0, Deadline(_START_TIMEOUT))
        except DeadlineError:
            raise BackendError(
                f"the decoder process was not ready after {_START_TIMEOUT:g} s",
                remedy="Check whether the machine is overloaded",
            ) from None
        except (EOFError, OSError) as error:
            raise self._stillborn(channel) from error
        except NonsenseError as error:
            raise BackendError(f"the decoder process does not start: {error}") from error
        if not isinstance(ready, Ready):
            raise BackendError("the decoder process does not start: it sent no greeting")
        self._sandbox = report = SandboxReport(ready.held, ready.missing)
        remember_sandbox(report)
        if self._limits.require_sandbox and not report.complete:
            raise BackendError(
                f"the decoder's sandbox is not complete: {report}",
                remedy="Use a kernel with Landlock and seccomp, decode on the CPU, or omit "
                "--require-sandbox",
            )

    def _stillborn(self, channel: Channel) -> VtlocError:
        """Find out why a process ended before its first video."""
        process = self._process
        if self._closed or process is None:
            return VideoError("reading was stopped")
        code = 0
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = process.wait(timeout=_END_TIMEOUT)
        return lost_at_start(code, channel.last_words())

    def _stop(self) -> None:
        """End the process; threads that still read from it see its end."""
        with self._state:
            if self._process is not None:
                _kill(self._process)

    def _forget(self) -> None:
        with self._state:
            self._end()

    def _end(self) -> None:
        if self._process is not None:
            _kill(self._process)
        if self._channel is not None:
            self._channel.close()
        self._process = self._channel = None


class _EarlierLossError(Exception):
    """A process that had read other videos was lost before this one began."""


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    # One that waits for storage that never answers cannot be ended, and is left behind.
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=_END_TIMEOUT)


def _echo(said: bytes) -> None:
    sys.stderr.write(said.decode("utf-8", "replace"))
