"""The videos in a folder and its subfolders, and the folders that could not be read."""

from __future__ import annotations

import contextlib
import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vtloc_runtime.errors import JobError

# fmt: off
VIDEO_SUFFIXES = frozenset({
    ".264", ".265", ".3g2", ".3gp", ".amv", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".gif",
    ".h264", ".h265", ".hevc", ".insv", ".ivf", ".m1v", ".m2t", ".m2ts", ".m2v", ".m4v", ".mj2",
    ".mjpeg", ".mjpg", ".mkv", ".mod", ".mov", ".mp4", ".mpe", ".mpeg", ".mpg", ".mpv", ".mts",
    ".mxf", ".nut", ".obu", ".ogm", ".ogv", ".qt", ".rm", ".rmvb", ".ts", ".vob", ".webm", ".wmv",
    ".wtv", ".y4m",
})
"""Endings of the files in folders that are taken for videos."""

PICTURE_SUFFIXES = frozenset({".apng", ".avif", ".heic", ".heif", ".m4s", ".png", ".webp"})
"""Endings of files that are seldom videos: they are counted, and read if they are named."""
# fmt: on


@dataclass(frozen=True, slots=True)
class FolderListing:
    """The contents of a folder.

    Attributes:
        videos: Paths of the videos, sorted.
        unreadable: Folders that cannot be read, sorted.
        skipped: Number of other files, by ending.
    """

    videos: tuple[str, ...]
    unreadable: tuple[str, ...]
    skipped: Counter[str]


def list_videos(folder: str | Path) -> FolderListing:
    """List the videos in a folder and its subfolders.

    Names that begin with a dot are left out. Linked folders are followed once, unless they lead
    back to where the search came from.

    Args:
        folder: Where to look.

    Raises:
        JobError: The folder itself cannot be looked into.
    """
    root = str(folder)
    videos: list[str] = []
    unreadable: list[str] = []
    skipped: Counter[str] = Counter()
    seen = _ancestors(root)
    waiting = [root]
    while waiting:
        place = waiting.pop()
        try:
            entries = list(_entries(place))
        except OSError as error:
            if place == root:
                raise JobError(
                    f"cannot look into the folder: {error.strerror}", where=folder
                ) from error
            unreadable.append(place)
            continue
        for entry in entries:
            if _is_folder(entry):
                if _is_new(entry, seen):
                    waiting.append(entry.path)
                continue
            suffix = os.path.splitext(entry.name)[1].lower()
            if suffix not in VIDEO_SUFFIXES:
                skipped[suffix] += 1
            elif _may_be_read(entry):
                videos.append(entry.path)
    return FolderListing(tuple(sorted(videos)), tuple(sorted(unreadable)), skipped)


class NamedVideos:
    """Finds the videos of annotations, which name them without folder and mostly without suffix.

    Args:
        folder: Where the videos are; its subfolders are searched too.

    Raises:
        JobError: The folder cannot be looked into.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = folder
        self._files: dict[str, str] = {}
        for file in list_videos(folder).videos:
            path = Path(file)
            for name in (str(path.relative_to(folder)), path.name, path.stem):
                self._files.setdefault(name, file)

    def find(self, name: str) -> str | None:
        """The path of a video, or None if there is none of that name.

        Args:
            name: Its path in the folder, its file's name, or that without the suffix. A file
                of any ending is found by its path.
        """
        listed = self._files.get(name)
        if listed is None and name and os.path.isfile(path := os.path.join(self._folder, name)):
            return path
        return listed


def _entries(place: str) -> Iterator[os.DirEntry[str]]:
    with os.scandir(place) as found:
        yield from (entry for entry in found if not entry.name.startswith("."))


def _ancestors(root: str) -> set[tuple[int, int]]:
    """The folder and everything above it: a link to one of them leads in a circle."""
    real = Path(os.path.realpath(root))
    found = set()
    for place in (real, *real.parents):
        with contextlib.suppress(OSError):
            state = place.stat()
            found.add((state.st_dev, state.st_ino))
    return found


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_new(entry: os.DirEntry[str], seen: set[tuple[int, int]]) -> bool:
    """Whether a folder was not searched before under another name."""
    try:
        state = entry.stat()
    except OSError:
        return True
    key = (state.st_dev, state.st_ino)
    if key in seen:
        return False
    seen.add(key)
    return True


def _may_be_read(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a file, or nothing can be known about it.

    In a folder that may be listed but not entered every file is of the second kind: each is then
    a video that cannot be read, and no video is left out without a word. Dangling links too.
    """
    try:
        return stat.S_ISREG(entry.stat().st_mode)
    except OSError:
        return True
