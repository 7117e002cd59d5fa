"""Sources of a video's bytes: a path, a URL, bytes, or a file object."""

from __future__ import annotations

import errno
import io
import os
import re
import stat
import tempfile
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from vtloc_runtime.errors import UsageError, VideoError
from vtloc_runtime.video.containers.mp4 import Mp4File
from vtloc_runtime.video.demuxing.demuxers import DEMUXERS
from vtloc_runtime.video.demuxing.diagnosis import NOT_A_VIDEO, Cause, cause_of_refusal
from vtloc_runtime.video.demuxing.shared_bytes import (
    FileView,
    Readable,
    RegularFile,
    SharedBytes,
    SharedFile,
    read_checked,
)

if TYPE_CHECKING:
    from av.container import InputContainer

    from vtloc_runtime.video.options import VideoOptions

_SCHEME = re.compile(r"^(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):")
_REMOTE_TRANSPORTS = "http,https,httpproxy,tcp,tls"
_NO_TRANSPORT = "none"
_READ_SIZE = 2**18
_SPOOL_SIZE = 2**20
LARGEST_COPY = 16 * 2**30
"""Most bytes copied to disk from what cannot seek."""


class Source:
    """The bytes of a video, which can be opened several times.

    Attributes:
        name: What messages call it.
        remote: Whether bytes come over a network.

    Raises:
        VideoError: There is no such file, it cannot be opened, or it is empty.
        UsageError: The source is of another type.
    """

    def __init__(
        self, source: str | os.PathLike[str] | bytes | Readable, options: VideoOptions
    ) -> None:
        self._timeout = options.timeout
        self._bytes: SharedBytes | None = None
        self._owned: list[IO[bytes]] = []
        self._url = ""
        self.remote = False
        if isinstance(source, bytes | bytearray | memoryview):
            self.name = "bytes"
            self._bytes = SharedFile(io.BytesIO(bytes(source)))
        elif isinstance(source, str | os.PathLike):
            self._locate(source, options)
        elif isinstance(source, Readable):
            name = getattr(source, "name", None)
            self.name = name if isinstance(name, str) and name else type(source).__name__
            self._bytes = self._shared(source)
        else:
            raise UsageError(
                f"an object of type {type(source).__name__} is not a video",
                remedy="Give a path, bytes, an open binary file or a FrameSequence",
            )
        if self._bytes is not None and self._bytes.size() == 0:
            self.close()
            raise VideoError(
                "holds no bytes", where=self.name, remedy="Copy or download the file again"
            )

    def open(self) -> InputContainer:
        """A new container over the bytes, reading from their start.

        Raises:
            VideoError: The bytes are not a video, or cannot be read.
        """
        if self._bytes is None:
            return self._open(self._url)
        try:
            return self._open(FileView(self._bytes))
        except VideoError:
            suffix = Path(self.name).suffix
            if not suffix:
                raise
            first = self._bytes
        # Some raw formats go by the name's ending alone.
        try:
            return self._open(FileView(first, f"video{suffix}"))
        except VideoError as error:
            raise VideoError(error.what, where=self.name, remedy=error.remedy) from error

    def read_at(self, position: int, size: int) -> bytes:
        """At most ``size`` bytes from a position; none where the source is remote."""
        return b"" if self._bytes is None else self._bytes.read_at(position, size)

    @property
    def size(self) -> int:
        """Bytes in all; 0 where the source is remote."""
        return 0 if self._bytes is None else self._bytes.size()

    @cached_property
    def mp4(self) -> Mp4File | None:
        """Its boxes, where it is an MP4 or QuickTime file at hand."""
        if self._bytes is None:
            return None
        file = Mp4File(self.read_at, self.size)
        return file if file.recognised else None

    def close(self) -> None:
        """Give back what the source itself holds; files of the caller stay open."""
        for file in self._owned:
            file.close()

    def _open(self, file: str | FileView) -> InputContainer:
        import av

        options = {
            "format_whitelist": DEMUXERS,
            "protocol_whitelist": _REMOTE_TRANSPORTS if self.remote else _NO_TRANSPORT,
        }
        try:
            return av.open(
                file,
                "r",
                container_options=options,
                metadata_errors="replace",
                buffer_size=_READ_SIZE,
                timeout=self._timeout if self.remote else None,
            )
        except (av.FFmpegError, OSError, ValueError) as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> VideoError:
        """The error to raise where FFmpeg or a file object raised ``error`` while opening."""
        import av

        # A format that is kept out is an invalid argument to FFmpeg.
        refused = getattr(error, "errno", None) in (errno.EINVAL, errno.EPERM)
        if refused or isinstance(error, av.error.InvalidDataError | av.error.EOFError):
            cause = NOT_A_VIDEO if self.remote else cause_of_refusal(self.read_at, self.size)
        elif self.remote:
            cause = Cause(f"cannot be fetched ({reason_of(error)})", "Download the video first")
        else:
            cause = Cause(f"cannot be opened ({reason_of(error)})", "Check that it can be read")
        return VideoError(cause.what, where=self.name, remedy=cause.remedy)

    def _locate(self, source: str | os.PathLike[str], options: VideoOptions) -> None:
        location = os.fsdecode(source)
        self.name = location
        if is_remote(location, options):
            self.remote = True
            self._url = location
            return
        file = _open_file(location)
        self._owned.append(file)
        self._bytes = RegularFile(file)

    @property
    def file(self) -> IO[bytes] | None:
        """The seekable file that is read; None where the source is remote."""
        return None if self._bytes is None else self._bytes.file

    def _shared(self, source: Readable) -> SharedBytes:
        """The file itself where it seeks, else a copy of it on disk."""
        if isinstance(source, io.BufferedReader | io.FileIO) and _is_regular(source):
            return RegularFile(source)
        seekable = getattr(source, "seekable", None)
        can_seek = seekable() if seekable is not None else hasattr(source, "seek")
        if can_seek and hasattr(source, "tell"):
            return SharedFile(cast("IO[bytes]", source))
        spool = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the source
        self._owned.append(spool)
        while block := read_checked(source, _SPOOL_SIZE, self.name):
            spool.write(block)
            if spool.tell() > LARGEST_COPY:
                spool.close()
                raise VideoError(
                    f"holds more than {LARGEST_COPY} bytes",
                    where=self.name,
                    remedy="Save it to a file and give its path",
                )
        return SharedFile(spool)


def is_remote(location: str, options: VideoOptions) -> bool:
    """Whether a location is an address that may be fetched, not a path.

    Args:
        location: The path or address.
        options: Which schemes are allowed.

    Raises:
        VideoError: It is neither, or an address of a scheme that is not allowed.
    """
    if "\0" in location or not location:
        raise VideoError(
            "is not a file's name", where=repr(location), remedy="Give a path or an address"
        )
    match = _SCHEME.match(location)
    if not match or os.path.lexists(location):
        return False
    scheme = match["scheme"].lower()
    if scheme not in options.protocols:
        remedy = "Download the video first"
        if scheme in ("http", "https"):
            remedy += f", or allow protocols=({scheme!r},)"
        raise VideoError(
            f"URLs with the scheme {scheme!r} are not allowed", where=location, remedy=remedy
        )
    return True


def _open_file(location: str) -> IO[bytes]:
    """Open a regular file for reading."""
    try:
        check_regular(os.stat(location).st_mode, location)  # noqa: PTH116 - as FFmpeg is given it
        # A pipe that took the file's place meanwhile must not make this wait.
        descriptor = os.open(location, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        file = os.fdopen(descriptor, "rb", buffering=0)
    except (OSError, ValueError) as error:
        raise cannot_open(location, error) from error
    try:
        check_regular(os.fstat(file.fileno()).st_mode, location)
    except VideoError:
        file.close()
        raise
    return file


def cannot_open(location: str, error: Exception) -> VideoError:
    """The error to raise where the system did not open a file."""
    return VideoError(
        f"cannot be opened ({reason_of(error)})",
        where=location,
        remedy="Check its name, and that it may be read",
    )


def check_regular(mode: int, location: str) -> None:
    """Refuse what is not a regular file.

    Args:
        mode: Its mode, as ``os.stat`` gives it.
        location: Its path.

    Raises:
        VideoError: It is a folder, a pipe or a device.
    """
    if stat.S_ISDIR(mode):
        raise VideoError("is a folder, not a video", where=location, remedy="Give a file in it")
    if not stat.S_ISREG(mode):
        raise VideoError(
            "is a pipe or a device, not a file",
            where=location,
            remedy="Open it yourself and give the file object",
        )


def _is_regular(file: IO[bytes] | io.FileIO) -> bool:
    if isinstance(file, io.BufferedReader) and not isinstance(file.raw, io.FileIO):
        return False
    try:
        return file.readable() and stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    except (OSError, ValueError):
        return False


def reason_of(error: Exception) -> str:
    """The system's own message for an error."""
    return str(getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()
