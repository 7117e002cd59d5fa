"""Decode several videos at once in one process on a GPU, each over a line of its own.

A CUDA context takes about half a GB of the GPU, so a GPU gets one process, whose threads share the
context and keep NVDEC's sessions for the next video of the same kind.
"""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from vtloc_runtime.errors import BackendError, VideoError
from vtloc_runtime.system.closing import Closing
from vtloc_runtime.video.isolation.channel import DeadlineError
from vtloc_runtime.video.isolation.conversation import Conversation
from vtloc_runtime.video.isolation.decoder_process import DecoderLimits, DecoderProcess
from vtloc_runtime.video.isolation.video_file import VideoFile, open_video_file

if TYPE_CHECKING:
    from vtloc_runtime.video import VideoOptions
    from vtloc_runtime.video.isolation.channel import Channel
    from vtloc_runtime.video.isolation.chunks import Reading
    from vtloc_runtime.video.isolation.sandbox_report import SandboxReport

_ONLY_REQUEST = 1
_PATIENCE = 2.0


@dataclass(eq=False, slots=True)
class _Generation:
    """A process, and what is known of it."""

    process: DecoderProcess
    readers: int = 0
    retired: bool = False


class GpuDecoderProcess(Closing):
    """A child process that reads any number of videos at once on one GPU.

    Where it is lost, the videos in work are read again, one at a time, each in a process of its
    own: the one that ends that process, too, is the one that fails. A video that is given up and
    whose thread does not end leaves the process to the videos in work; later ones get a new one.

    ``read`` and ``close`` may be called from any thread.

    Args:
        limits: How far each video may go; CUDA reserves more address space than any limit would
            allow, so memory has none.
    """

    def __init__(self, limits: DecoderLimits | None = None) -> None:
        self._limits = replace(limits or DecoderLimits(), memory=0)
        self._current: _Generation | None = None
        self._open: set[DecoderProcess] = set()
        self._state = threading.Lock()
        self._starting = threading.Lock()
        self._alone = threading.Lock()
        self._closed = False

    def read(self, source: Any, options: VideoOptions, size: int) -> Reading:
        """Read a video in the process.

        Args:
            source: Whatever ``vtloc_runtime.video.open_video`` takes.
            options: How to sample it; the decoder is ``"nvdec"`` or ``"nvdec:N"``.
            size: Pictures in one chunk at most.

        Raises:
            VideoError: The video cannot be read, or reading it crashed the decoder, took too long,
                or came to no end.
            DecoderLostError: Somebody else ended the process; the video may be tried again.
            BackendError: The process does not start, or lacks a sandbox that is required.
        """
        options = self._limits.narrow(options)
        begun = time.monotonic()
        given = 0
        with open_video_file(source, options, self._limits.timeout) as video:
            try:
                for part in self._read_beside_others(video, options, size, begun):
                    yield part
                    given += 1
            except _ProcessLostError:
                # The chunks are the same, so skip those that were returned.
                again = self._read_alone(video, options, size, begun)
                yield from islice(again, given, None)

    def start(self) -> SandboxReport:
        """Start the process now, and return the layers of its sandbox.

        Raises:
            BackendError: The process does not start, or lacks a sandbox that is required.
        """
        generation = self._join()
        try:
            with self._starting:
                return generation.process.start(gpu=True)
        finally:
            self._leave(generation)

    def close(self) -> None:
        """End the process; readings in progress fail."""
        with self._state:
            self._closed = True
            processes = list(self._open)
        with ExitStack() as stack:
            for process in processes:
                stack.callback(process.close)

    def _read_beside_others(
        self, video: VideoFile, options: VideoOptions, size: int, begun: float
    ) -> Reading:
        generation, retire = self._join(), False
        line: Channel | None = None
        try:
            line = self._open_line(generation)
            conversation = Conversation(
                line,
                _ONLY_REQUEST,
                options,
                size,
                name=video.name,
                timeout=self._limits.timeout,
                begun=begun,
            )
            try:
                yield from conversation.read(video)
            finally:
                if conversation.broken:
                    # What it says of other videos cannot be trusted, either.
                    generation.process.close()
                retire = not conversation.over and not line.hang_up(_PATIENCE)
        except (EOFError, OSError) as error:
            retire = True
            if self._closed:
                raise VideoError("reading was stopped", where=video.name) from error
            raise _ProcessLostError from error
        finally:
            if line is not None:
                line.close()
            self._leave(generation, retire=retire)

    def _read_alone(
        self, video: VideoFile, options: VideoOptions, size: int, begun: float
    ) -> Reading:
        """Read a video in a process of its own, while no other one is read so."""
        with self._alone, DecoderProcess(self._limits) as process:
            self._add(process)
            try:
                yield from process.converse(video, options, size, begun)
            finally:
                with self._state:
                    self._open.discard(process)

    def _open_line(self, generation: _Generation) -> Channel:
        # Callers that come while it starts wait: all need the same process.
        with self._starting:
            try:
                return generation.process.open_line()
            except DeadlineError:
                raise BackendError(
                    "the decoder process does not answer",
                    remedy="Check whether the machine is overloaded",
                ) from None

    def _join(self) -> _Generation:
        """The process that new videos go to."""
        with self._state:
            if self._current is None:
                self._current = _Generation(DecoderProcess(self._limits))
            generation = self._current
            generation.readers += 1
        self._add(generation.process)
        return generation

    def _add(self, process: DecoderProcess) -> None:
        with self._state:
            if self._closed:
                raise VideoError("reading was stopped")
            self._open.add(process)

    def _leave(self, generation: _Generation, *, retire: bool = False) -> None:
        """Note that a reading is over; a retired process ends with its last one."""
        with self._state:
            generation.readers -= 1
            generation.retired |= retire
            if generation.retired and self._current is generation:
                self._current = None
            over = generation.retired and not generation.readers
            if over:
                self._open.discard(generation.process)
        if over:
            generation.process.close()


class _ProcessLostError(Exception):
    """The process was lost; any of the videos in work may be why."""
