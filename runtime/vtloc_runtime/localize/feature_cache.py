"""The cache of encoded videos: what was decoded and encoded once is not done again.

An entry is one safetensors file, named by a hash of the video's content, of the visual network
and of how the video was sampled. Entries are written aside and moved into place, so that readers
and writers in any number of processes never see half of one. The least recently used go first
when the cache outgrows its bound.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vtloc_runtime.errors import OutputError
from vtloc_runtime.localize.video_encoder import EncodedVideo

if TYPE_CHECKING:
    from numpy.typing import NDArray

DEFAULT_BOUND = 10 * 2**30
FOLDER_VARIABLE = "VTLOC_CACHE"

_VERSION = "2"
_SUFFIX = ".safetensors"
_ABANDONED = 3600.0
# Making room frees a little more than needed, so that it is not done for every entry.
_ROOM = 0.9


def default_folder() -> Path:
    """Where the cache lies: ``$VTLOC_CACHE``, or the user's cache folder."""
    if named := os.environ.get(FOLDER_VARIABLE):
        return Path(named)
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "vtloc" / "features"


class FeatureCache:
    """Encoded videos on disk; safe for several threads and processes.

    Args:
        folder: Where entries lie; None takes the default place. Made if need be.
        bound: Most bytes that entries may take together.

    Raises:
        OutputError: The folder cannot be made or written.
    """

    def __init__(self, folder: str | Path | None = None, *, bound: int = DEFAULT_BOUND) -> None:
        self.folder = Path(folder) if folder is not None else default_folder()
        self.bound = bound
        self._default = folder is None and FOLDER_VARIABLE not in os.environ
        self._lock = threading.Lock()
        self._size: int | None = None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"the cache cannot be made: {error.strerror}",
                where=self.folder,
                remedy=f"Name another folder in {FOLDER_VARIABLE}, or go without: --no-cache",
            ) from error

    def __reduce__(self) -> tuple[object, ...]:
        # On another machine the default place is that machine's own.
        return _open_cache, (None if self._default else self.folder.absolute(), self.bound)

    def fetch(
        self, video: str | Path, signature: str, encode: Callable[[], EncodedVideo]
    ) -> EncodedVideo:
        """The encoded video: from the cache, or made now and kept.

        What cannot be cached (an address, a pipe, a full disk) is encoded all the same.

        Args:
            video: The video's path.
            signature: What the features depend on beside the video.
            encode: Makes them.

        Raises:
            VideoError: ``encode`` could not read the video.
        """
        key = self.key(video, signature)
        if key is None:
            return encode()
        known = self.get(key)
        if known is not None:
            return known
        encoded = encode()
        # The file may have changed while it was being read.
        if self.key(video, signature) == key:
            with contextlib.suppress(OutputError):
                self.put(key, encoded)
        return encoded

    def key(self, video: str | Path, signature: str) -> str | None:
        """The name of an entry; None where the video is no regular file that can be read."""
        content = self._content(Path(video))
        if content is None:
            return None
        return hashlib.sha256(f"{_VERSION}\0{content}\0{signature}".encode()).hexdigest()

    def get(self, key: str) -> EncodedVideo | None:
        """An entry, or None; a damaged one is removed."""
        path = self._path(key)
        try:
            encoded = _read(path)
        except FileNotFoundError:
            return None
        except Exception:  # noqa: BLE001 - whatever is wrong with it, it is made anew
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
        path = self._path(key)
        draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as file:
                for part in _serialize(encoded):
                    file.write(part)
                size = file.tell()
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                draft.unlink()
            raise OutputError(
                f"the cache cannot be written: {error.strerror}", where=self.folder
            ) from error
        self._make_room(size)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}{_SUFFIX}"

    def _content(self, video: Path) -> str | None:
        """Hash of a file's content, remembered by size and time of change."""
        try:
            if not video.is_file():
                return None
            state = video.stat()
            note = self._note(video, state)
            with contextlib.suppress(OSError):
                known = note.read_text(encoding="ascii")
                if len(known) == 2 * hashlib.blake2b().digest_size:
                    return known
            with video.open("rb") as file:
                found = hashlib.file_digest(file, "blake2b").hexdigest()
        except (OSError, ValueError):
            return None
        with contextlib.suppress(OSError):
            note.parent.mkdir(parents=True, exist_ok=True)
            draft = note.with_name(f".{note.name}.{os.getpid()}.{threading.get_ident()}")
            draft.write_text(found, encoding="ascii")
            draft.replace(note)
        return found

    def _note(self, video: Path, state: os.stat_result) -> Path:
        parts = (str(video.resolve()), state.st_size, state.st_mtime_ns, state.st_ino, state.st_dev)
        name = hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).hexdigest()
        return self.folder / "notes" / name[:2] / name

    def _make_room(self, added: int) -> None:
        """Remove the entries used longest ago, once the bound is passed."""
        with self._lock:
            if self._size is not None and self._size + added <= self.bound:
                self._size += added
                return
            # Other processes add entries too, so the count begins anew from what is there.
            entries = sorted(self._entries())
            self._size = sum(size for _, size, _ in entries)
            self._remove_drafts()
            if self._size <= self.bound:
                return
            for _, size, path in entries:
                if self._size <= _ROOM * self.bound:
                    return
                with contextlib.suppress(OSError):
                    path.unlink()
                self._size -= size

    def _remove_drafts(self) -> None:
        """Remove what killed processes left half written."""
        for path in self.folder.glob("??/.*"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > _ABANDONED:
                    path.unlink()

    def _entries(self) -> list[tuple[int, int, Path]]:
        """When each entry was last used, its size, and its path."""
        found = []
        for path in self.folder.glob(f"??/*{_SUFFIX}"):
            with contextlib.suppress(OSError):
                state = path.stat()
                found.append((state.st_mtime_ns, state.st_size, path))
        return found


def _open_cache(folder: Path | None, bound: int) -> FeatureCache:
    return FeatureCache(folder, bound=bound)


def _serialize(encoded: EncodedVideo) -> Iterator[bytes | memoryview]:
    """A safetensors file, part by part: the library would hold a long video's features twice."""
    features = np.ascontiguousarray(encoded.features, dtype=np.float32)
    times = np.ascontiguousarray(encoded.times, dtype=np.float64)
    header: dict[str, object] = {
        "__metadata__": {
            "version": _VERSION,
            "duration": repr(encoded.duration),
            "encoder": encoded.encoder,
            "warnings": json.dumps(list(encoded.warnings)),
            "digest": _digest(features, times),
        }
    }
    end = 0
    for name, kind, array in (("times", "F64", times), ("features", "F32", features)):
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": kind, "shape": array.shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    yield times.data.cast("B")
    yield features.data.cast("B")


def _read(path: Path) -> EncodedVideo:
    from safetensors import safe_open

    # Opened first by itself, because the library's own error for a missing file is another.
    with path.open("rb"), safe_open(path, framework="numpy") as file:
        facts = file.metadata()
        features, times = file.get_tensor("features"), file.get_tensor("times")
    if facts["digest"] != _digest(features, times):
        raise OutputError("the entry is damaged", where=path)
    return EncodedVideo(
        features,
        times,
        float(facts["duration"]),
        facts["encoder"],
        tuple(json.loads(facts["warnings"])),
    )


def _digest(*arrays: NDArray[Any]) -> str:
    """A checksum against accidents; nobody gains by forging their own cache."""
    state = 0
    for array in arrays:
        state = zlib.crc32(np.ascontiguousarray(array).data, state)
    return f"{state:08x}"
