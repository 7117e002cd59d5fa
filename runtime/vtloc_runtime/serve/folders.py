"""The folders whose videos and pictures are served, and nothing outside of them.

A file is named by its folder and its path there: ``films/2024/a.mp4``. Names are opened step by
step from the folder's own descriptor and never through a link, so no name leads anywhere else, even
if the folders change meanwhile.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from vtloc_runtime.batch.job_lists.folder_listing import PICTURE_SUFFIXES, VIDEO_SUFFIXES
from vtloc_runtime.errors import BackendError, QueryError, UsageError, VideoError
from vtloc_runtime.localize.encoding.file_identity import FileState
from vtloc_runtime.localize.questions.question import Picture

LARGEST_PICTURE = 16 * 2**20
"""Bytes of a picture that asks."""

STILLS = PICTURE_SUFFIXES - {".m4s"} | {".bmp", ".gif", ".jpeg", ".jpg", ".tif", ".tiff"}
"""Endings of pictures that can ask."""

_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# A pipe in a file's place must not be waited for.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class UnknownVideoError(VideoError):
    """A name that no served video has."""

    def __init__(self, name: str) -> None:
        super().__init__("there is no such video", where=name[:200])


class UnknownPictureError(QueryError):
    """A name that no served picture has."""

    def __init__(self, name: str) -> None:
        super().__init__("there is no such picture", where=name[:200])


@dataclass(frozen=True, slots=True)
class ServedVideo:
    """A video that was opened.

    Attributes:
        name: Its name.
        path: Its path, for the feature cache.
        file: The open file.
        state: The file's state.
    """

    name: str
    path: str
    file: BufferedReader
    state: FileState


class ServedFolders:
    """Folders of videos.

    Args:
        folders: The folders; each is known by its last part, numbered where two are alike.

    Raises:
        UsageError: One of them is not a folder.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._roots: dict[str, str] = {}
        for folder in folders:
            root = os.path.realpath(folder)
            if not os.path.isdir(root):
                raise UsageError("this is not a folder", where=folder)
            if root not in self._roots.values():
                self._roots[self._free_name(os.path.basename(root) or "root")] = root

    @property
    def roots(self) -> dict[str, str]:
        """The path of each folder, by its name."""
        return dict(self._roots)

    def add(self, name: str, folder: Path) -> None:
        """Serve one more folder under a name of its own.

        Args:
            name: The name.
            folder: The folder.
        """
        self._roots[self._free_name(name)] = str(folder)

    def names(self) -> list[str]:
        """The names of all videos, sorted. Links, hidden files and odd names are left out."""
        return sorted(self._listing())

    def paths(self) -> dict[str, str]:
        """The path of each video, by its name."""
        listed = self._listing()
        return {name: listed[name] for name in sorted(listed)}

    @contextmanager
    def open(self, name: str) -> Iterator[ServedVideo]:
        """Open a video.

        Args:
            name: Its name, exactly as `names` lists it.

        Raises:
            UnknownVideoError: There is no such video below the folders.
        """
        found = self._open(name, VIDEO_SUFFIXES)
        if found is None:
            raise UnknownVideoError(name)
        path, descriptor = found
        # The name is what messages about the video say.
        with open(name, "rb", opener=lambda *_: descriptor) as file:
            yield ServedVideo(name, path, file, FileState.from_stat(os.fstat(descriptor)))

    def read_picture(self, name: str) -> Picture:
        """Read a picture to ask with.

        Args:
            name: Its folder and its path there.

        Raises:
            UnknownPictureError: There is no such picture below the folders.
            QueryError: It is empty or too large.
        """
        found = self._open(name, STILLS)
        if found is None:
            raise UnknownPictureError(name)
        with open(found[1], "rb") as file:
            content = file.read(LARGEST_PICTURE + 1)
        if not content or len(content) > LARGEST_PICTURE:
            most = LARGEST_PICTURE // 2**20
            what = f"has more than {most} MiB" if content else "holds no bytes"
            raise QueryError(f"the picture {what}", where=name[:200])
        return Picture(content)

    def _open(self, name: str, suffixes: Collection[str]) -> tuple[str, int] | None:
        """The path and a descriptor of a file; None if there is none of these endings.

        Raises:
            BackendError: No more files can be opened.
        """
        folder, *parts = name.split("/")
        root = self._roots.get(folder)
        if root is None or not parts or not all(map(_is_plain, parts)):
            return None
        if not _ends_as(parts[-1], suffixes):
            return None
        try:
            descriptor = _open_below(root, parts)
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno in _EXHAUSTED:
                raise BackendError(
                    f"no file can be opened: {error.strerror}", remedy="Ask again later"
                ) from error
            return None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            return None
        return os.path.join(root, *parts), descriptor

    def _listing(self) -> dict[str, str]:
        found = {}
        for name, root in self._roots.items():
            for place, folders, files in os.walk(root):
                folders[:] = [one for one in folders if _is_plain(one)]
                inside = [name, *os.path.relpath(place, root).split(os.sep)]
                if place == root:
                    inside.pop()
                for file in files:
                    path = os.path.join(place, file)
                    if _is_plain(file) and _ends_as(file, VIDEO_SUFFIXES) and _is_file(path):
                        found["/".join((*inside, file))] = path
        return found

    def _free_name(self, name: str) -> str:
        name = name if _is_plain(name) else "folder"
        free, number = name, 1
        while free in self._roots:
            number += 1
            free = f"{name}-{number}"
        return free


def _is_plain(part: str) -> bool:
    """Whether a part of a name can be served: not hidden, not special, and text."""
    if not part or part.startswith(".") or "\0" in part or "/" in part:
        return False
    try:
        part.encode()
    except UnicodeEncodeError:
        return False
    return True


def _ends_as(file: str, suffixes: Collection[str]) -> bool:
    return os.path.splitext(file)[1].lower() in suffixes


def _is_file(path: str) -> bool:
    """Whether it is a regular file, and no link to one."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def _open_below(root: str, parts: Sequence[str]) -> int:
    """Open a file from its folder downwards, through no link.

    Raises:
        OSError: There is no such file, or a part of its path is a link.
        ValueError: A part cannot be a name.
    """
    place = os.open(root, _FOLDER)
    try:
        for part in parts[:-1]:
            below = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=place)
            os.close(place)
            place = below
        return os.open(parts[-1], _FILE, dir_fd=place)
    finally:
        os.close(place)
