"""Bytes from the network, or from an object that only reads, in a file without a name."""

from __future__ import annotations

import tempfile
import time
from typing import IO, TYPE_CHECKING, Any

from vtloc_runtime.errors import VideoError
from vtloc_runtime.video.demuxing.source import LARGEST_COPY, reason_of

if TYPE_CHECKING:
    from vtloc_runtime.video.options import VideoOptions

_BLOCK = 2**18


def download(address: str, options: VideoOptions) -> IO[bytes]:
    """Download a video: a decoder has no network.

    Args:
        address: An ``http`` or ``https`` address.
        options: How much may be copied, and how long it may take.

    Raises:
        VideoError: It cannot be fetched, is cut off, or exceeds the limits.
    """
    # Imported here, because few videos are fetched and they take long to import.
    import http.client
    import urllib.error
    import urllib.request

    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.UnknownHandler,
    ):
        opener.add_handler(handler())
    room: IO[bytes] = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - given to the caller
    try:
        with opener.open(address, timeout=options.timeout) as answer:
            copy_bytes(answer, room, options, address)
            cut = bool(answer.length)
    except (OSError, http.client.HTTPException, ValueError) as error:
        room.close()
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        what = reason_of(reason) if isinstance(reason, Exception) else str(reason).lower()
        raise VideoError(f"cannot be fetched ({what})", where=address) from error
    except BaseException:
        room.close()
        raise
    if cut:
        room.close()
        raise VideoError("was not received completely", where=address)
    return room


def copy_bytes(content: Any, room: IO[bytes], options: VideoOptions, name: str) -> None:
    """Copy bytes, within the limits of size and of time.

    Args:
        content: Is read to its end.
        room: Takes the bytes.
        options: How long it may take.
        name: What messages call the video.

    Raises:
        VideoError: There are too many bytes, or they take too long.
    """
    copied = 0
    wall, begun = options.limits.wall_seconds, time.monotonic()
    while block := content.read(_BLOCK):
        copied += len(block)
        if copied > LARGEST_COPY:
            raise VideoError(
                f"holds more than {LARGEST_COPY} bytes",
                where=name,
                remedy="Save it to a file and give its path",
            )
        if time.monotonic() - begun > wall:
            raise VideoError(f"was not received within {wall:g} s", where=name)
        view = memoryview(block)
        while view:
            view = view[room.write(view) :]
