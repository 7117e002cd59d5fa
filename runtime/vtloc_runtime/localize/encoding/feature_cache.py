"""The cache of encoded videos: what was decoded and encoded once is not done again.

An entry is one safetensors file, named by a hash of the video's content, of the visual network
and of how the video was sampled. Entries are written aside and moved into place, so that readers
and writers in any number of processes never see half of one. The least recently used go first
when the cache outgrows its bound.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from vtloc_runtime.errors import OutputError, UsageError, VtlocError
from vtloc_runtime.localize.encoding.feature_file import VERSION, decode_entry, encode_entry
from vtloc_runtime.localize.encoding.file_identity import Content, FileState, identify
from vtloc_runtime.system.arguments import check_real, check_whole
from vtloc_runtime.system.atomic_write import atomic_write
from vtloc_runtime.system.cache_folder import (
    DEFAULT_CACHE_BYTES,
    FOLDER_VARIABLE,
    default_folder,
)
from vtloc_runtime.system.input_file import read_input
from vtloc_runtime.system.untrusted_json import decode_json

if TYPE_CHECKING:
    from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo

DEFAULT_TIMEOUT = 30.0
"""Seconds that the storage of a video may take for one answer."""

_SUFFIX = ".safetensors"
_NOTES = "notes"
_LARGEST_NOTE = 4096
_LARGEST_BOUND = 2**62
# A file written in the same moment as it is read may change without a sign of it.
_SETTLED = 2 * 10**9
_ABANDONED = 3600.0
# Making room frees a little more than needed, so that it is not done for every entry.
_ROOM = 0.9


class FeatureCache:
    """Encoded videos on disk; safe for several threads and processes.

    Args:
        folder: Where entries lie; None takes the default place. Made if need be.
        bound: Most bytes that entries and notes may take together.
        timeout: Seconds that the storage of a video may take for one answer.

    Raises:
        UsageError: An argument is of another type, or out of range.
        OutputError: The folder cannot be made or written.
    """

    def __init__(
        self,
        folder: str | Path | None = None,
        *,
        bound: int = DEFAULT_CACHE_BYTES,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        if folder is not None and not isinstance(folder, str | os.PathLike):
            raise UsageError(f"folder is {folder!r:.60}; it must be a path")
        check_whole(bound, "bound", least=0, most=_LARGEST_BOUND)
        check_real(timeout, "timeout", least=0.001, most=1e9)
        self.folder = Path(folder) if folder is not None else default_folder()
        self.bound = bound
        self.timeout = timeout
        self._default = folder is None and FOLDER_VARIABLE not in os.environ
        self._lock = threading.Lock()
        self._size: int | None = None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:
            raise OutputError(
                f"the cache folder cannot be created: {getattr(error, 'strerror', None) or error}",
                where=self.folder,
                remedy=f"Name another folder in {FOLDER_VARIABLE}, or go without: --no-cache",
            ) from error

    def __reduce__(self) -> tuple[object, ...]:
        # On another machine the default place is that machine's own.
        folder = None if self._default else self.folder.absolute()
        return _open_cache, (folder, self.bound, self.timeout)

    def fetch(
        self,
        video: str | Path,
        signature: str,
        encode: Callable[[], EncodedVideo],
        *,
        stop: Callable[[], bool] | None = None,
    ) -> EncodedVideo:
        """The encoded video: from the cache, or made now and kept.

        What cannot be cached (an address, a pipe, a full disk) is encoded all the same.

        Args:
            video: The video's path.
            signature: What the features depend on beside the video.
            encode: Makes them.
            stop: Asked while a large file is read for its name; once it says True the cache is
                left out.

        Raises:
            VideoError: ``encode`` could not read the video, or its storage did not answer.
        """
        key = self.key(video, signature, stop=stop)
        if key is None:
            return encode()
        known = self.get(key)
        if known is not None:
            return known
        encoded = encode()
        # The file may have changed while it was being read.
        if self.key(video, signature, stop=stop) == key:
            with contextlib.suppress(OutputError):
                self.put(key, encoded)
        return encoded

    def key(
        self, video: str | Path, signature: str, *, stop: Callable[[], bool] | None = None
    ) -> str | None:
        """The name of an entry; None where the video is not a regular file that can be read.

        A file is known by the hash of its content, so a copy or a new name is the same video. One
        of more than 4 GiB, or that takes more than a minute to read, is known by its ends, its
        size, its inode and the times of its last changes: a copy is another video.

        Args:
            video: The video's path.
            signature: What the features depend on beside the video.
            stop: Asked while the file is read; once it says True the answer is None.

        Raises:
            VideoError: The file's storage did not answer.
        """
        content = identify(video, known=self._recall, timeout=self.timeout, stop=stop)
        if content is None:
            return None
        self._note(content)
        return hashlib.sha256(f"{VERSION}\0{content.name}\0{signature}".encode()).hexdigest()

    def get(self, key: str) -> EncodedVideo | None:
        """An entry, or None; a damaged one is removed.

        One that cannot be read now (too many open files, storage that fails) is left alone.
        """
        path = self._path(key)
        try:
            encoded = decode_entry(read_input(path), key)
        except (OSError, MemoryError):
            return None
        except (VtlocError, ValueError, TypeError):
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return encoded

    def put(self, key: str, encoded: EncodedVideo) -> None:
        """Keep an encoded video, and make room for it.

        Raises:
            OutputError: It cannot be written.
        """
        try:
            size = self._write(self._path(key), encode_entry(encoded, key))
        except OSError as error:
            raise OutputError(
                f"the cache cannot be written: {error.strerror}", where=self.folder
            ) from error
        self._make_room(size)

    def _write(self, path: Path, parts: tuple[bytes | memoryview, ...]) -> int:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            for part in parts:
                file.write(part)
            return file.tell()

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}{_SUFFIX}"

    def _recall(self, path: str, state: FileState) -> str | None:
        """The name of a file's content, where a note of its present state has it."""
        note = self._note_path(path)
        try:
            content = read_input(note, limit=_LARGEST_NOTE)
            known = decode_json(content, _Note, fail=OutputError)
        except (OSError, VtlocError):
            return None
        if known.state != asdict(state) or known.check != _check(known.name, state):
            return None
        with contextlib.suppress(OSError):
            os.utime(note)
        return known.name

    def _note(self, content: Content) -> None:
        """Remember the name of a file's content, unless that is known or may be wrong soon."""
        state = content.state
        settled = time.time_ns() - max(state.changed, state.modified) > _SETTLED
        if content.noted or not settled:
            return
        path = self._note_path(content.path)
        note = _Note(content.name, asdict(state), _check(content.name, state))
        text = msgspec.json.encode(note)
        with contextlib.suppress(OSError):
            self._make_room(self._write(path, (text,)))

    def _note_path(self, video: str) -> Path:
        # One note a path, whatever becomes of the file there.
        name = hashlib.sha256(os.fsencode(video)).hexdigest()
        return self.folder / _NOTES / name[:2] / name

    def _make_room(self, added: int) -> None:
        """Remove what was used longest ago, once the bound is passed."""
        with self._lock:
            if self._size is not None and self._size + added <= self.bound:
                self._size += added
                return
            # Other processes add entries too, so the count begins anew from what is there.
            kept = sorted(self._kept())
            self._size = sum(size for _, size, _ in kept)
            self._remove_drafts()
            if self._size <= self.bound:
                return
            for _, size, path in kept:
                if self._size <= _ROOM * self.bound:
                    return
                with contextlib.suppress(OSError):
                    path.unlink()
                self._size -= size

    def _remove_drafts(self) -> None:
        """Remove what killed processes left half written."""
        for pattern in ("??/.*", f"{_NOTES}/??/.*"):
            for path in self.folder.glob(pattern):
                with contextlib.suppress(OSError):
                    if time.time() - path.lstat().st_mtime > _ABANDONED:
                        path.unlink()

    def _kept(self) -> list[tuple[int, int, Path]]:
        """When each entry and note was last used, its size, and its path.

        A note is used whenever its entry is, so one whose entry is gone grows old and goes too.
        """
        found = []
        for pattern in (f"??/*{_SUFFIX}", f"{_NOTES}/??/[!.]*"):
            for path in self.folder.glob(pattern):
                with contextlib.suppress(OSError):
                    state = path.lstat()
                    found.append((state.st_mtime_ns, state.st_size, path))
        return found


class _Note(msgspec.Struct, frozen=True):
    """What a file's content was called in one state of the file."""

    name: str
    state: dict[str, int]
    check: str


def _check(name: str, state: FileState) -> str:
    return hashlib.sha256(f"{name} {state}".encode()).hexdigest()[:16]


def _open_cache(folder: Path | None, bound: int, timeout: float) -> FeatureCache:
    return FeatureCache(folder, bound=bound, timeout=timeout)
