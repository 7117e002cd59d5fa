"""Videos that callers send: kept in a folder of their own until the service ends."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO

import anyio.to_thread

from vtloc_runtime.batch.job_lists.folder_listing import VIDEO_SUFFIXES
from vtloc_runtime.errors import OutputError, UsageError
from vtloc_runtime.system.closing import Closing

FOLDER = "uploads"
"""The name under which uploads are served."""

_BLOCK = 2**20


class TooLargeError(UsageError):
    """An upload that is larger than one may be."""

    kind = "too-large"


class Uploads(Closing):
    """Keeps uploads. The oldest are removed when they outgrow their bound.

    Args:
        largest: Bytes of one upload, at most.
        bound: Bytes of all uploads, at most.
    """

    def __init__(self, *, largest: int, bound: int) -> None:
        self.largest = largest
        self._bound = max(bound, largest)
        self._folder = tempfile.TemporaryDirectory(prefix="vtloc-uploads-")
        self._kept: dict[Path, int] = {}

    @property
    def folder(self) -> Path:
        """Where they lie."""
        return Path(self._folder.name)

    async def save(self, file_name: str, content: AsyncIterator[bytes]) -> str:
        """Keep an upload.

        Args:
            file_name: Its file's name, of which only the ending counts.
            content: Its bytes.

        Returns:
            Its name.

        Raises:
            UsageError: The file's name does not end as videos do, or it holds no bytes.
            TooLargeError: It is too large.
            OutputError: It cannot be written.
        """
        suffix = os.path.splitext(file_name)[1].lower()
        if suffix not in VIDEO_SUFFIXES:
            raise UsageError(
                "the file's name does not end as that of a video",
                where=file_name[:200],
                remedy="Give a name such as film.mp4",
            )
        path = self.folder / f"{secrets.token_hex(16)}{suffix}"
        try:
            with contextlib.ExitStack() as stack:
                stack.callback(path.unlink, missing_ok=True)
                with path.open("xb") as file:
                    size = await self._write(file, content)
                if not size:
                    raise UsageError("the file holds no bytes", where=file_name[:200])
                stack.pop_all()
        except OSError as error:
            raise OutputError(f"the upload cannot be kept: {error.strerror}") from error
        self._kept[path] = size
        while sum(self._kept.values()) > self._bound:
            oldest = next(iter(self._kept))
            del self._kept[oldest]
            with contextlib.suppress(OSError):
                oldest.unlink()
        return f"{FOLDER}/{path.name}"

    def close(self) -> None:
        """Remove all uploads."""
        with contextlib.suppress(OSError):
            self._folder.cleanup()

    async def _write(self, file: IO[bytes], content: AsyncIterator[bytes]) -> int:
        size, block = 0, bytearray()
        async for part in content:
            size += len(part)
            if size > self.largest:
                raise TooLargeError(f"an upload may have at most {self.largest} bytes")
            block += part
            if len(block) >= _BLOCK:
                await anyio.to_thread.run_sync(file.write, bytes(block))
                block.clear()
        await anyio.to_thread.run_sync(file.write, bytes(block))
        return size
