"""The child process that decodes; it may crash or be taken over without harm to the parent.

Started by `launch` with one end of a socket. It imports all that it will ever need, enters its
sandbox, and then reads one video after another from descriptors that come over the socket.
"""

from __future__ import annotations

import contextlib
import os
import pickle
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
from vtloc_runtime.video.demuxing.source import Source
from vtloc_runtime.video.film_facts import read_facts
from vtloc_runtime.video.isolation.chunks import is_same
from vtloc_runtime.video.isolation.descriptor_file import DescriptorFile
from vtloc_runtime.video.isolation.memory import Memory
from vtloc_runtime.video.isolation.messages import (
    LARGEST_PIECE,
    LONGEST_TEXT,
    MOST_WARNINGS,
    NEW_LINE,
    ClipEnd,
    End,
    Facts,
    Message,
    Picture,
    Piece,
    Ready,
    Refusal,
)
from vtloc_runtime.video.isolation.outbox import Outbox, Repeats, UnwantedError, send_message
from vtloc_runtime.video.isolation.requests import next_request
from vtloc_runtime.video.isolation.sandbox import end_with_parent, enter_sandbox

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vtloc_runtime.video import VideoSource

_SECONDS_BETWEEN_LOOKS = 5.0
# A raw film of one grey picture of 16 x 16 pixels: it takes the reader through all its parts.
_WARM_UP = b"YUV4MPEG2 W16 H16 F1:1 C420\nFRAME\n" + bytes([128]) * 384


def serve(line: socket.socket, memory: Memory, *, shared: bool = False) -> None:
    """Serve requests until the parent closes the connection.

    Args:
        line: Where they are asked for.
        memory: What is known of this process's memory.
        shared: Other lines are served at the same time.
    """
    while (request := next_request(line)) is not None:
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
    import numpy as np

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
    keyframes, hidden = ending.keyframes, ending.hidden_cuts
    end = End(
        ending.duration,
        ending.warnings,
        memory.near_limit(),
        ending.period,
        len(keyframes),
        len(hidden),
    )
    return end, np.concatenate([keyframes, hidden])


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


class _Ending(msgspec.Struct):
    duration: float
    warnings: list[str]
    period: float
    keyframes: Any
    hidden_cuts: Any


def _read(outbox: Outbox, source: VideoSource, options: VideoOptions) -> _Ending:
    """Send a video's frames as they come."""
    last: NDArray[Any] | None = None
    shown = 0.0
    repeats = Repeats(outbox)
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
    return _Ending(duration, warnings, reader.period, reader.keyframes, reader.hidden_cuts)


def _fault(error: Exception, memory: Memory) -> Refusal:
    if isinstance(error, MemoryError) or "Cannot allocate memory" in str(error):
        what = "decoding it takes more memory than the decoder may use"
        return Refusal(what, None, near_limit=True)
    what = f"{type(error).__name__}: {error}"
    return Refusal(what[:LONGEST_TEXT], None, memory.near_limit())


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
    black = FrameSequence(np.zeros((2, 16, 16, 3), dtype=np.uint8), [0.0, 1.0])
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
