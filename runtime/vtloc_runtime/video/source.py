"""Where a video's bytes come from: a path, a URL, bytes, or anything that can be read."""

from __future__ import annotations

import errno
import io
import os
import re
import stat
import tempfile
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol, Self, cast, runtime_checkable

import av

from vtloc_runtime.errors import UsageError, VideoError

if TYPE_CHECKING:
    from av.container import InputContainer

    from vtloc_runtime.video.options import VideoOptions

_SCHEME = re.compile(r"^(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):")
_REMOTE_TRANSPORTS = "http,https,httpproxy,tcp,tls"
_READ_SIZE = 2**18
_SPOOL_SIZE = 2**20

# Formats that open further files or devices by name: a downloaded "video" must not do that.
_REFERRING_FORMATS = {
    "concat", "dash", "ffmetadata", "hls", "image2", "imf", "lavfi", "mlv", "rtp", "rtsp", "sap",
    "sdp", "tedcaptions", "tty", "vapoursynth", "vobsub", "webm_dash_manifest",
}  # fmt: skip


@runtime_checkable
class Readable(Protocol):
    """Anything with a ``read`` method that returns bytes."""

    def read(self, size: int = -1, /) -> bytes:
        """At most ``size`` bytes, none at the end."""
        ...


class Source:
    """A video's bytes, which can be opened any number of times, also at once.

    Attributes:
        name: What messages call it.
        remote: Whether bytes come over a network.
    """

    def __init__(
        self, source: str | os.PathLike[str] | bytes | Readable, options: VideoOptions
    ) -> None:
        self._timeout = options.timeout
        self._shared: _SharedFile | None = None
        self._spool: IO[bytes] | None = None
        self._url = ""
        self._label = ""
        self.remote = False
        if isinstance(source, bytes | bytearray | memoryview):
            self.name = "bytes"
            self._share(io.BytesIO(bytes(source)))
        elif isinstance(source, str | os.PathLike):
            self._locate(os.fspath(source), options)
        elif isinstance(source, Readable):
            self.name = str(getattr(source, "name", None) or type(source).__name__)
            # Formats without a mark of their own are known by the name's ending.
            self._label = Path(self.name).name
            self._share(self._seekable(source, options.limits.spool_bytes))
        else:
            raise UsageError(
                f"a {type(source).__name__} is no video",
                remedy="Give a path, bytes, an open binary file or a FrameSequence",
            )

    def open(self) -> InputContainer:
        """A new container over the bytes, reading from their start.

        Raises:
            VideoError: The bytes are no video, or cannot be had.
        """
        options = {"format_whitelist": _self_contained_formats()}
        # A file that is open needs no protocol, and what it refers to is not opened.
        local = "file" if self._shared is None else "none"
        options["protocol_whitelist"] = _REMOTE_TRANSPORTS if self.remote else local
        file = self._shared.view(self._label) if self._shared is not None else self._url
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
            raise self.failure(error) from error

    def failure(self, error: Exception) -> VideoError:
        """The error to raise where FFmpeg or a file object raised ``error`` while opening."""
        # A format that is kept out is an invalid argument to FFmpeg.
        refused = getattr(error, "errno", None) == errno.EINVAL
        if refused or isinstance(error, av.error.InvalidDataError):
            what = "is no video that can be read"
        elif self.remote:
            what = f"cannot be fetched ({reason_of(error)})"
        else:
            what = f"cannot be opened ({reason_of(error)})"
        return VideoError(what, where=self.name)

    @property
    def file(self) -> IO[bytes] | None:
        """The seekable file that is read; None where there is a path or an address instead."""
        return None if self._shared is None else self._shared.file

    @property
    def size(self) -> int | None:
        """Its bytes; None where only the network knows."""
        if self._shared is not None:
            return self._shared.size()
        try:
            return None if self.remote else Path(self.name).stat().st_size
        except OSError:
            return None

    def close(self) -> None:
        """Give back what the source itself holds; files of the caller stay open."""
        if self._spool is not None:
            self._spool.close()

    def _locate(self, location: str, options: VideoOptions) -> None:
        self.name = location
        if "\0" in location or not location:
            raise VideoError("is no file's name", where=repr(location))
        path = Path(location)
        match = _SCHEME.match(location)
        if match and not path.exists():
            self._allow(match["scheme"].lower(), options)
            self.remote = True
            self._url = location
            return
        _check_file(path)
        # The prefix keeps names such as "concat:a|b" or "http:x" from meaning a protocol.
        self._url = f"file:{path.absolute()}"

    def _allow(self, scheme: str, options: VideoOptions) -> None:
        if scheme in options.protocols:
            return
        remedy = "Download the video first"
        if scheme in ("http", "https"):
            remedy += f", or allow protocols=({scheme!r},)"
        raise VideoError(
            f"URLs with the scheme {scheme!r} are not allowed", where=self.name, remedy=remedy
        )

    def _share(self, file: IO[bytes]) -> None:
        if file.seek(0, os.SEEK_END) == 0:
            raise VideoError("holds no bytes", where=self.name)
        self._shared = _SharedFile(file)

    def _seekable(self, source: Readable, most: int) -> IO[bytes]:
        """The file itself where it seeks, else a copy of it on disk."""
        seekable = getattr(source, "seekable", None)
        can_seek = seekable() if seekable is not None else hasattr(source, "seek")
        if can_seek and hasattr(source, "tell"):
            return cast("IO[bytes]", source)
        spool = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the source
        self._spool = spool
        while block := _read(source, _SPOOL_SIZE, self.name):
            spool.write(block)
            if spool.tell() > most:
                spool.close()
                raise VideoError(f"holds more than {most} bytes", where=self.name)
        return spool


class _SharedFile:
    """One seekable file that several containers read at once, each at its own place."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self._lock = threading.Lock()

    def view(self, name: str) -> _FileView:
        return _FileView(self, name)

    def read_at(self, position: int, size: int) -> bytes:
        with self._lock:
            self.file.seek(position)
            return _read(self.file, size, "the file object")

    def size(self) -> int:
        with self._lock:
            return self.file.seek(0, os.SEEK_END)


class _FileView:
    """A place in a shared file, as FFmpeg wants it: ``read``, ``seek`` and ``tell``."""

    def __init__(self, shared: _SharedFile, name: str) -> None:
        self.name = name
        self._shared = shared
        self._position = 0

    def read(self, size: int) -> bytes:
        data = self._shared.read_at(self._position, size)
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position}.get(whence)
        if base is None:
            base = self._shared.size()
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def _read(file: Readable, size: int, name: str) -> bytes:
    """Read, and hold the file to its contract: FFmpeg copies the answer into ``size`` bytes."""
    data = file.read(size)
    if not isinstance(data, bytes | bytearray | memoryview):
        raise VideoError(f"read() gave {type(data).__name__}, not bytes", where=name)
    if len(data) > size:
        raise VideoError("read() gave more bytes than it was asked for", where=name)
    return bytes(data)


def _check_file(path: Path) -> None:
    try:
        status = path.stat()
    except OSError as error:
        raise VideoError(f"cannot be opened ({reason_of(error)})", where=path) from error
    if stat.S_ISDIR(status.st_mode):
        raise VideoError("is a folder, not a video", where=path)
    if not stat.S_ISREG(status.st_mode):
        raise VideoError(
            "is a pipe or a device, not a file",
            where=path,
            remedy="Open it yourself and give the file object",
        )
    if status.st_size == 0:
        raise VideoError("holds no bytes", where=path)


def _self_contained_formats() -> str:
    return ",".join(sorted(av.formats_available - _REFERRING_FORMATS))


def reason_of(error: Exception) -> str:
    """What the system says was wrong, in its words."""
    return str(getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()
