"""Open a video of any source as a file whose descriptor a decoder can receive."""

from __future__ import annotations

import io
import os
import re
import stat
import tempfile
import threading
import time
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import PurePath
from typing import IO, TYPE_CHECKING, Any

from vtloc_runtime.errors import VideoError
from vtloc_runtime.video.demuxing.source import (
    Source,
    cannot_open,
    check_regular,
    is_remote,
)
from vtloc_runtime.video.frame_sequence import FrameSequence
from vtloc_runtime.video.isolation.download import copy_bytes, download

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vtloc_runtime.video.options import VideoOptions

_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,12}\Z")
_LOOK = 0.05


@dataclass(frozen=True, slots=True)
class VideoFile:
    """A video that is open for reading.

    Attributes:
        name: What messages call it.
        descriptor: Its open file; None where it is a sequence of pictures.
        size: Its bytes.
        label: A file's name of the same ending, by which formats without a mark are known.
        sequence: Pictures that were decoded elsewhere.
    """

    name: str
    descriptor: int | None
    size: int
    label: str
    sequence: FrameSequence | None = None


@contextmanager
def open_video_file(source: Any, options: VideoOptions, timeout: float) -> Iterator[VideoFile]:
    """Open a video; sources without a descriptor are copied first.

    Args:
        source: Whatever ``open_video`` takes.
        options: Which protocols are allowed, and how much may be copied.
        timeout: Seconds after which a file that cannot be opened is given up.

    Raises:
        VideoError: It cannot be opened.
        UsageError: It is nothing that can be a video.
    """
    with ExitStack() as stack:
        if isinstance(source, FrameSequence):
            yield VideoFile("frame sequence", None, 0, "", source)
            return
        if isinstance(source, str | os.PathLike):
            name = os.fspath(source)
            local = _in_time(lambda: _open_location(name, options, timeout), name, timeout)
            file = local or download(name, options)
        else:
            name, file = _open_object(source, options)
        stack.enter_context(file)
        descriptor = file.fileno()
        size = os.fstat(descriptor).st_size
        if size == 0:
            raise VideoError("holds no bytes", where=name, remedy="Copy or download the file again")
        yield VideoFile(name, descriptor, size, _label(name))


def _open_location(location: str, options: VideoOptions, timeout: float) -> IO[bytes] | None:
    """Open a path; None where it is an address."""
    if is_remote(location, options):
        return None
    deadline = time.monotonic() + timeout
    while True:
        try:
            # A pipe put in the file's place meanwhile must not block.
            descriptor = os.open(location, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            break
        except BlockingIOError as error:
            # Another program holds a lease on it, and has some time to give it back.
            if time.monotonic() > deadline:
                raise cannot_open(location, error) from None
            time.sleep(_LOOK)
        except (OSError, ValueError) as error:
            # ValueError: characters that no file's name has.
            raise cannot_open(location, error) from error
    try:
        # Before it becomes a file, which a folder's descriptor cannot.
        check_regular(os.fstat(descriptor).st_mode, location)
    except VideoError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb", buffering=0)


def _open_object(source: Any, options: VideoOptions) -> tuple[str, IO[bytes]]:
    found = Source(source, options)
    try:
        content = found.file
        if content is None:
            raise VideoError("cannot be read", where=found.name)
        if (own := _own_file(content)) is not None:
            return found.name, own
        room = _room(content)
        try:
            content.seek(0)
            copy_bytes(content, room, options, found.name)
        except BaseException:
            room.close()
            raise
        return found.name, room
    finally:
        found.close()


def _own_file(file: IO[bytes]) -> IO[bytes] | None:
    """The same file opened again for reading, where its bytes are those that ``file`` reads."""
    # Others have a descriptor, too, and read something else: gzip's, say.
    raw = file.raw if isinstance(file, io.BufferedReader) else file
    if not isinstance(raw, io.FileIO) or not stat.S_ISREG(os.fstat(raw.fileno()).st_mode):
        return None
    try:
        descriptor = os.open(f"/proc/self/fd/{raw.fileno()}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    return os.fdopen(descriptor, "rb", buffering=0)


def _room(content: IO[bytes]) -> IO[bytes]:
    """Where bytes get a descriptor: in memory if they are there already, else on the disk."""
    if isinstance(content, io.BytesIO) and hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("video"), "w+b", buffering=0)
    return tempfile.TemporaryFile(buffering=0)


def _in_time(
    opening: Callable[[], IO[bytes] | None], name: str, timeout: float
) -> IO[bytes] | None:
    """Open a file in a thread that can be abandoned if storage does not respond."""
    future: Future[IO[bytes] | None] = Future()

    def run() -> None:
        try:
            found = opening()
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            future.set_exception(error)
            return
        future.set_result(found)

    threading.Thread(target=run, name="video opener", daemon=True).start()
    try:
        return future.result(timeout)
    except TimeoutError as error:
        if future.done():
            raise
        future.add_done_callback(_close_late)
        raise VideoError(
            f"could not be opened within {timeout:g} s",
            where=name,
            remedy="Check whether its storage responds, or raise --decoder-timeout",
        ) from error


def _close_late(future: Future[IO[bytes] | None]) -> None:
    if future.exception() is None and (file := future.result()) is not None:
        file.close()


def _label(name: str) -> str:
    match = _EXTENSION.search(PurePath(name).name)
    return f"video{match[0]}" if match else "video"
