"""The child process that decodes; it may crash or be taken over without harm to the parent.

Started by `launch` with one end of a socket. It imports all that it will ever need, enters its
sandbox, and then reads one video after another from descriptors that come over the socket.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from vtloc_runtime.errors import DeviceLostError, VideoError, VtlocError
from vtloc_runtime.video import FrameSequence, VideoOptions, open_video
from vtloc_runtime.video.cutting import CutOptions, cut_clip
from vtloc_runtime.video.decoders.choice import PROCESSOR
from vtloc_runtime.video.film_facts import read_facts
from vtloc_runtime.video.isolation.chunks import is_same
from vtloc_runtime.video.isolation.messages import (
    HEADER,
    LARGEST_PIECE,
    LONGEST_TEXT,
    MOST_WARNINGS,
    NEW_LINE,
    REQUEST,
    Again,
    ClipEnd,
    End,
    Facts,
    Message,
    Picture,
    Piece,
    Ready,
    Refusal,
)
from vtloc_runtime.video.isolation.sandbox import end_with_parent, enter_sandbox
from vtloc_runtime.video.source import Source

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vtloc_runtime.video import VideoSource

_SECONDS_BETWEEN_LOOKS = 5.0
_NEAR = 0.75
_SOON = 0.2
_STATUS_SIZE = 4096
# A raw film of one grey picture of 16 x 16 pixels: it takes the reader through all its parts.
_WARM_UP = b"YUV4MPEG2 W16 H16 F1:1 C420\nFRAME\n" + bytes([128]) * 384


class DescriptorFile:
    """A file object over a descriptor, with its own position.

    Args:
        descriptor: An open file; closed by ``close``.
        size: Its bytes.
        name: What formats may go by.
    """

    def __init__(self, descriptor: int, size: int, name: str) -> None:
        self.name = name
        self._descriptor = descriptor
        self._size = size
        self._position = 0

    def read(self, size: int = -1, /) -> bytes:
        """At most ``size`` bytes, none at the end."""
        data = os.pread(self._descriptor, self._size if size < 0 else size, self._position)
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place; gives where that is."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position}.get(whence, self._size)
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        """The place of the next byte that is read."""
        return self._position

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._descriptor)


class UnwantedError(Exception):
    """The parent does not want this video any more."""


class Outbox:
    """Sends messages from a thread, so that decoding continues while the parent works.

    Args:
        line: The socket to the parent.
        number: The request that they answer.
        room: Messages that may wait at most.
        shared: Other videos are read at the same time, so the process outlives the line.
    """

    def __init__(
        self, line: socket.socket, number: int, room: int, *, shared: bool = False
    ) -> None:
        self._line = line
        self._number = number
        self._shared = shared
        self._unwanted = False
        self._waiting: queue.Queue[tuple[Message, NDArray[Any] | None] | None] = queue.Queue(room)
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._thread.start()

    def put(self, message: Message, picture: NDArray[Any] | None = None) -> None:
        """Send a message, and the bytes that follow it, after those that wait already.

        Raises:
            UnwantedError: The parent has closed the line.
        """
        if self._unwanted:
            raise UnwantedError
        self._waiting.put((message, picture))

    def finish(self) -> None:
        """Wait until all is sent."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            while (item := self._waiting.get()) is not None:
                message, picture = item
                send_message(self._line, self._number, message)
                if picture is not None:
                    self._line.sendall(picture.data.cast("B"))
        except OSError:
            # The parent has gone, or no longer wants this video.
            if not self._shared:
                os._exit(0)
            self._unwanted = True
            # Whoever waits for room goes on, and finds out.
            while self._waiting.get() is not None:
                pass


class Memory:
    """The address space of this process, and its limit.

    Args:
        limit: The limit, bytes; 0 where there is none.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rest = 0
        self._status = -1
        if limit > 0:
            with contextlib.suppress(OSError):
                # The sandbox lets no file be opened, but an open one be read again.
                self._status = os.open("/proc/self/status", os.O_RDONLY)

    def apply(self) -> None:
        """Set the limit."""
        if self._limit > 0:
            import resource

            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_AS, (self._limit, self._limit))

    def settle(self) -> None:
        """Take what the process has by now for what it takes without a video."""
        self._rest = self._peak()

    def near_limit(self) -> bool:
        """Whether the limit may have been hit.

        FFmpeg passes over what it finds no memory for, as it does over damage. The peak is the
        process's, so the parent replaces a process that came so close.
        """
        return self._peak() - self._rest > _NEAR * (self._limit - self._rest)

    def _peak(self) -> int:
        with contextlib.suppress(OSError, ValueError, IndexError):
            if self._status >= 0:
                status = os.pread(self._status, _STATUS_SIZE, 0)
                return 1024 * int(status.split(b"VmPeak:")[1].split()[0])
        return self._rest


def send_message(line: socket.socket, number: int, message: Message) -> None:
    """Send one message."""
    body = msgspec.msgpack.encode(message)
    line.sendall(HEADER.pack(number, len(body)) + body)


def serve(line: socket.socket, memory: Memory, *, shared: bool = False) -> None:
    """Serve requests until the parent closes the connection.

    Args:
        line: Where they are asked for.
        memory: What is known of this process's memory.
        shared: Other lines are served at the same time.
    """
    while (request := _next_request(line)) is not None:
        number, content, descriptor = request
        if number == NEW_LINE and descriptor is not None:
            _serve_beside(socket.socket(fileno=descriptor), memory)
            continue
        # Requests come from the parent alone, which this process trusts.
        source, options, size = pickle.loads(content)  # noqa: S301 - as above
        outbox = Outbox(line, number, max(1, size), shared=shared)
        try:
            # The file is closed before the last message about it is sent.
            with _received(source, descriptor) as opened:
                if isinstance(options, VideoOptions):
                    last = _read_whole(outbox, opened, options, memory)
                else:
                    last = _deliver(outbox, opened, options, memory), None
            outbox.put(*last)
        except UnwantedError:
            # The parent waits until this end of the line is closed.
            return
        finally:
            outbox.finish()


@contextlib.contextmanager
def _received(source: Any, descriptor: int | None) -> Iterator[VideoSource]:
    """What is to be read: the file of a descriptor, closed at the end, or the source itself."""
    if descriptor is None:
        yield source
        return
    with contextlib.closing(DescriptorFile(descriptor, *source)) as file:
        yield file


def _read_whole(
    outbox: Outbox, source: VideoSource, options: VideoOptions, memory: Memory
) -> tuple[Message, NDArray[Any] | None]:
    """Send a video's frames, and return the last message about it, and what follows that.

    Raises:
        UnwantedError: The parent has closed the line.
    """
    try:
        ending = _read(outbox, source, options)
    except UnwantedError:
        raise
    except VtlocError as error:
        _end_on_lost_gpu(options)
        remedy = None if error.remedy is None else error.remedy[:LONGEST_TEXT]
        return Refusal(error.what[:LONGEST_TEXT], remedy, memory.near_limit()), None
    except Exception as error:  # noqa: BLE001 - it becomes that video's failure
        _end_on_lost_gpu(options)
        return _fault(error, memory), None
    keyframes = ending.keyframes
    message = End(
        ending.duration,
        ending.warnings,
        memory.near_limit(),
        len(keyframes),
        ending.hidden_cuts,
    )
    return message, keyframes


def _deliver(
    outbox: Outbox, source: VideoSource, options: CutOptions | None, memory: Memory
) -> Message:
    """Send a clip, or only what the header says; returns the last message about it.

    Raises:
        UnwantedError: The parent has closed the line.
    """
    try:
        with contextlib.closing(_opened(source)) as opened:
            return _facts(opened) if options is None else _cut(outbox, opened, options)
    except UnwantedError:
        raise
    except VtlocError as error:
        remedy = None if error.remedy is None else error.remedy[:LONGEST_TEXT]
        return Refusal(error.what[:LONGEST_TEXT], remedy, memory.near_limit())
    except Exception as error:  # noqa: BLE001 - it becomes that video's failure
        return _fault(error, memory)


def _opened(source: VideoSource) -> Source:
    if isinstance(source, FrameSequence):
        raise VideoError("is a sequence of pictures, not a file")
    return Source(source, VideoOptions())


def _cut(outbox: Outbox, source: Source, options: CutOptions) -> ClipEnd:
    """Send a clip in pieces."""
    import numpy as np

    clip = cut_clip(source, options)
    content = np.frombuffer(clip.content, dtype=np.uint8)
    for top in range(0, len(content), LARGEST_PIECE):
        piece = content[top : top + LARGEST_PIECE]
        outbox.put(Piece(len(piece)), piece)
    return ClipEnd(clip.start, clip.end)


def _facts(source: Source) -> Facts:
    facts = read_facts(source, VideoOptions())
    return Facts(
        (facts.rate.numerator, facts.rate.denominator),
        facts.duration,
        facts.width,
        facts.height,
        facts.sound,
        facts.timecode,
    )


def _end_on_lost_gpu(options: VideoOptions) -> None:
    """End this process where the GPU has failed for good: CUDA needs a new one."""
    if options.decoder == PROCESSOR:
        return
    from vtloc_runtime.video.decoders.nvdec.api import lost_gpu

    if (said := lost_gpu()) is not None:
        sys.stderr.write(f"the GPU failed: {said}\n")
        sys.stderr.flush()
        os._exit(DeviceLostError.exit_code)


def _serve_beside(line: socket.socket, memory: Memory) -> None:
    """Serve another line in a thread of its own."""
    from vtloc_runtime.video.decoders.nvdec.api import keep_sessions

    keep_sessions()

    def work() -> None:
        # Closing it says that nothing works for it any more.
        with line, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            serve(line, memory, shared=True)

    threading.Thread(target=work, name="reader", daemon=True).start()


class _Repeats:
    """Counts frames that repeat the one before, and reports them at intervals."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._time = 0.0
        self._count = 0
        self._said = time.monotonic()

    def add(self, seconds: float) -> None:
        """Count one more frame, which came on screen at a time."""
        if seconds != self._time:
            self.send()
        self._time = seconds
        self._count += 1
        # The parent waits for frames, and gives a video up that shows none for long.
        if time.monotonic() - self._said > _SOON:
            self.send()

    def send(self) -> None:
        """Say what has been counted."""
        if self._count:
            self._outbox.put(Again(self._time, self._count))
        self._count = 0
        self._said = time.monotonic()


class _Ending(msgspec.Struct):
    duration: float
    warnings: list[str]
    keyframes: Any
    hidden_cuts: int


def _read(outbox: Outbox, source: VideoSource, options: VideoOptions) -> _Ending:
    """Send a video's frames as they come."""
    last: NDArray[Any] | None = None
    shown = 0.0
    repeats = _Repeats(outbox)
    with open_video(source, options) as reader:
        for frame in reader:
            if is_same(frame.image, last):
                repeats.add(frame.time)
            else:
                repeats.send()
                outbox.put(Picture(frame.time), frame.image)
            last, shown = frame.image, frame.time
        repeats.send()
    warnings = [one[:LONGEST_TEXT] for one in reader.warnings[:MOST_WARNINGS]]
    duration = max(shown, float(reader.duration))
    return _Ending(duration, warnings, reader.keyframes, reader.hidden_cuts)


def _fault(error: Exception, memory: Memory) -> Refusal:
    if isinstance(error, MemoryError) or "Cannot allocate memory" in str(error):
        what = "decoding it takes more memory than the decoder may use"
        return Refusal(what, None, near_limit=True)
    what = f"{type(error).__name__}: {error}"
    return Refusal(what[:LONGEST_TEXT], None, memory.near_limit())


def _next_request(line: socket.socket) -> tuple[int, bytes, int | None] | None:
    """The number, the content and the descriptor of the next request; None at the end."""
    try:
        header, descriptors, _, _ = socket.recv_fds(line, REQUEST.size, 1)
        header += _exactly(line, REQUEST.size - len(header)) if header else b""
        if not header:
            return None
        number, length = REQUEST.unpack(header)
        content = _exactly(line, length)
    except (OSError, EOFError):
        return None
    return number, content, descriptors[0] if descriptors else None


def _exactly(line: socket.socket, size: int) -> bytes:
    content = bytearray(size)
    room = memoryview(content)
    while room:
        got = line.recv_into(room)
        if not got:
            raise EOFError
        room = room[got:]
    return bytes(content)


def _warm_up() -> None:
    """Import and run everything once, before the sandbox forbids opening files."""
    import encodings.idna
    import encodings.latin_1
    import encodings.utf_16
    import encodings.utf_32

    import numpy as np

    from vtloc_runtime.video.picture import tone_mapping
    from vtloc_runtime.video.sampling import keyframes, parallel, seeking

    del encodings, tone_mapping, keyframes, parallel, seeking
    black = FrameSequence(np.zeros((1, 16, 16, 3), dtype=np.uint8), [0.0])
    for source in (black, _WARM_UP):
        with contextlib.suppress(VideoError):
            for _ in open_video(source, VideoOptions()):
                pass


def _watch_parent(parent: int) -> None:
    """End this process when its parent has died, on kernels that do not do so."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        os._exit(1)

    threading.Thread(target=watch, name="parent watch", daemon=True).start()


def main(descriptor: int, limit: int, gpu: int, parent: int) -> None:
    """Serve a socket.

    Args:
        descriptor: The socket.
        limit: Most bytes of address space; 0 sets no limit.
        gpu: 1 where videos are decoded on a GPU.
        parent: The process that started this one.
    """
    orphaned = end_with_parent(parent)
    memory = Memory(limit)
    memory.apply()
    line = socket.socket(fileno=descriptor)
    if not gpu:
        _warm_up()
    memory.settle()
    report = enter_sandbox(orphaned=orphaned, gpu=bool(gpu))
    if orphaned is not None:
        _watch_parent(parent)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        send_message(line, 0, Ready(report.held, report.missing))
        serve(line, memory)
    # Nothing is left to flush, and what a library does at its end is denied here.
    sys.stderr.flush()
    os._exit(0)
