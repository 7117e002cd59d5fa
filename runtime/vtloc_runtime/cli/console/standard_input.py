"""Standard input where ``-`` stands for a file: kept on disk while the command runs."""

from __future__ import annotations

import codecs
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, Literal

from vtloc_runtime.errors import UsageError
from vtloc_runtime.system.closing import Closing

NAME = "-"
"""Standard input, in arguments and in records."""

_BLOCK = 2**20
_BEGINNING = 4096
_LARGEST = 16 * 2**30

Kind = Literal["input", "sentences"]


class StandardInput(Closing):
    """Standard input as a file, read when it is first asked for and removed at the end.

    Text is a list of videos, everything else a video: what a film begins with is never text.

    Attributes:
        names: ``-``, by the path of the file that stands for it.
    """

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self._stack = ExitStack()
        self._read = False

    def replace_word(self, word: str) -> str:
        """An argument; ``-`` becomes the path of a file.

        Raises:
            UsageError: Standard input is empty, a terminal, too large, or was read before.
        """
        return str(self._path("input")) if word == NAME else word

    def replace(self, path: Path, *, kind: Kind) -> Path:
        """A path; ``-`` becomes the path of a file.

        Args:
            path: A path from the command line.
            kind: What the file holds.

        Raises:
            UsageError: As for ``replace_word``.
        """
        return self._path(kind) if str(path) == NAME else path

    def close(self) -> None:
        """Remove the file; a second call does nothing."""
        self._stack.close()

    def _path(self, kind: Kind) -> Path:
        if self._read:
            raise UsageError("standard input can be read only once", remedy="Use - only once")
        self._read = True
        stream = sys.stdin
        if stream is None or stream.isatty():
            raise UsageError(
                "- stands for standard input, which is a terminal",
                remedy="Send a file or a pipe: vtloc-run - ... < film.mp4",
            )
        folder = Path(self._stack.enter_context(TemporaryDirectory(prefix="vtloc-")))
        path = folder / "standard-input"
        with path.open("wb") as file:
            beginning = _copy(stream.buffer, file)
        if kind == "sentences":
            return path
        suffix = _list_suffix(beginning)
        if suffix:
            return path.rename(path.with_suffix(suffix))
        self.names[str(path)] = NAME
        return path


def _copy(source: BinaryIO, target: BinaryIO) -> bytes:
    """Copy standard input; gives its beginning."""
    beginning, copied = b"", 0
    while block := source.read(_BLOCK):
        beginning = beginning or block[:_BEGINNING]
        copied += len(block)
        if copied > _LARGEST:
            raise UsageError(f"standard input holds more than {_LARGEST} bytes")
        target.write(block)
    if not copied:
        raise UsageError("standard input is empty")
    return beginning


def _list_suffix(beginning: bytes) -> str:
    """The suffix of the list that text is; nothing for a video."""
    if b"\0" in beginning:
        return ""
    try:
        # The last character may be cut in two, so it need not be complete.
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(beginning)
    except UnicodeDecodeError:
        return ""
    first = text.lstrip().split("\n", 1)[0]
    if first.startswith("{"):
        return ".jsonl"
    return ".csv" if "video" in first.lower().replace('"', " ").split(",")[0] else ".txt"
