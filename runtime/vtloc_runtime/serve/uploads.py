"""Videos and pictures that callers send: kept in a folder of their own until the service ends."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import IO

import anyio.to_thread

from vtloc_runtime.batch.job_lists.folder_listing import VIDEO_SUFFIXES
from vtloc_runtime.errors import OutputError, UsageError
from vtloc_runtime.serve.work_queue import BusyError
from vtloc_runtime.system.closing import Closing

FOLDER = "uploads"
"""The name under which uploads are served."""

_BLOCK = 2**20
_MOST = 10_000
"""Files that are kept, however small."""


class TooLargeError(UsageError):
    """An upload that is larger than one may be."""

    kind = "too-large"


class Uploads(Closing):
    """Keeps uploads. The oldest are removed when they outgrow their bound.

    Args:
        largest: Bytes of one upload, at most.
        bound: Bytes of all uploads, at most, those that are still being sent included.
    """

    def __init__(self, *, largest: int, bound: int) -> None:
        self.largest = largest
        self._bound = max(bound, largest)
        self._folder = tempfile.TemporaryDirectory(prefix="vtloc-uploads-")
        self._kept: dict[Path, int] = {}
        self._size = 0
        self._arriving = 0

    @property
    def folder(self) -> Path:
        """Where they lie."""
        return Path(self._folder.name)

    async def save(
        self,
        file_name: str,
        content: AsyncIterator[bytes],
        *,
        suffixes: Collection[str] = VIDEO_SUFFIXES,
        largest: int | None = None,
    ) -> str:
        """Keep an upload.

        Args:
            file_name: Its file's name, of which only the ending counts.
            content: Its bytes.
            suffixes: The endings that it may have.
            largest: Bytes that it may have; None means as many as any upload.

        Returns:
            Its name.

        Raises:
            UsageError: The file's name does not end so, or it holds no bytes.
            TooLargeError: It is too large.
            BusyError: Too much is being sent at once.
            OutputError: It cannot be written.
        """
        suffix = os.path.splitext(file_name)[1].lower()
        if suffix not in suffixes:
            example = "film.mp4" if ".mp4" in suffixes else "dog.jpg"
            raise UsageError(
                "the file's name has another ending",
                where=file_name[:200],
                remedy=f"Give a name such as {example}",
            )
        path = self.folder / f"{secrets.token_hex(16)}{suffix}"
        try:
            with contextlib.ExitStack() as stack:
                stack.callback(path.unlink, missing_ok=True)
                with path.open("xb") as file:
                    size = await self._write(
                        file, content, min(largest or self.largest, self.largest)
                    )
                if not size:
                    raise UsageError("the file holds no bytes", where=file_name[:200])
                stack.pop_all()
        except OSError as error:
            raise OutputError(f"the upload cannot be kept: {error.strerror}") from error
        self._kept[path] = size
        self._size += size
        self._make_room()
        return f"{FOLDER}/{path.name}"

    def close(self) -> None:
        """Remove all uploads."""
        with contextlib.suppress(OSError):
            self._folder.cleanup()

    async def _write(self, file: IO[bytes], content: AsyncIterator[bytes], largest: int) -> int:
        size, block = 0, bytearray()
        try:
            async for part in content:
                size += len(part)
                self._arriving += len(part)
                if size > largest:
                    raise TooLargeError(f"the file may have at most {largest} bytes")
                self._make_room()
                block += part
                if len(block) >= _BLOCK:
                    await anyio.to_thread.run_sync(file.write, bytes(block))
                    block.clear()
            await anyio.to_thread.run_sync(file.write, bytes(block))
        finally:
            self._arriving -= size
        return size

    def _make_room(self) -> None:
        """Remove the oldest uploads until the rest, and what is being sent, keep to the bound.

        Raises:
            BusyError: What is being sent is too much already.
        """
        if self._arriving > self._bound:
            raise BusyError("too many files are being sent", 5)
        while self._size + self._arriving > self._bound or len(self._kept) > _MOST:
            oldest = next(iter(self._kept))
            self._size -= self._kept.pop(oldest)
            with contextlib.suppress(OSError):
                oldest.unlink()
