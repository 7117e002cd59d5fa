"""What an index holds: each film, the state of its file, and where its frames lie."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec

from vtloc_runtime.batch.results.records import Failure  # noqa: TC001 - msgspec reads the types
from vtloc_runtime.errors import FeatureError
from vtloc_runtime.localize.encoding.file_identity import FileState  # noqa: TC001 - likewise
from vtloc_runtime.system.atomic_write import atomic_write
from vtloc_runtime.system.input_file import read_input

_FILE = "catalogue"
_VERSION = 1
_CHECK = 64
"""Hexadecimal digits of the checksum in front of the content."""


class Rows(msgspec.Struct, frozen=True):
    """Where a film's frames lie in the feature table.

    Attributes:
        first: The first row.
        count: How many rows; frames that share features have one.
        check: CRC-32 of the rows.
    """

    first: int
    count: int
    check: int


class Film(msgspec.Struct, frozen=True, kw_only=True):
    """A film of a library.

    Attributes:
        name: Its absolute path; bytes that are not text are kept.
        state: The state of its file when it was indexed; None: unknown, so the file is looked at
            again.
        key: Its name in the feature cache, which follows from its content.
        rows: Where its frames lie; None if it cannot be read.
        middle: What half of the ordinary sentences reach in it, where presence comes from them.
        above: By how much more a tenth of them reach.
        below: By how much less a tenth of them reach.
        frames: Number of frames.
        duration: Its length, seconds.
        failure: Why it cannot be read; None if it can.
    """

    name: str
    state: FileState | None = None
    key: str = ""
    rows: Rows | None = None
    middle: float = 0.0
    above: float = 0.0
    below: float = 0.0
    frames: int = 0
    duration: float = 0.0
    failure: Failure | None = None

    @property
    def path(self) -> str:
        """The path, as the operating system takes it."""
        return os.fsdecode(self.name.encode("latin-1"))


def film_name(path: str) -> str:
    """The name of a film in a catalogue: its absolute path, byte for byte.

    Args:
        path: The path as it was given.
    """
    return os.fsencode(os.path.abspath(path)).decode("latin-1")


class Catalogue(msgspec.Struct, frozen=True, kw_only=True):
    """The films of a library.

    Attributes:
        signature: What the features depend on beside the films.
        table: Name of the feature table's file; empty where there is none yet.
        total: Rows in the table, those of films that are gone included.
        state: State of the table's file when it was last written; None: unknown.
        films: The films, in no order.
        version: Version of the format.
    """

    signature: str
    table: str = ""
    total: int = 0
    state: FileState | None = None
    films: tuple[Film, ...] = ()
    version: int = _VERSION

    @classmethod
    def read(cls, folder: Path, signature: str) -> Catalogue | None:
        """Read the catalogue of an index.

        Args:
            folder: The index.
            signature: What its features must depend on.

        Returns:
            None if there is none.

        Raises:
            FeatureError: It is damaged, or not of this version and signature.
            OSError: It cannot be read.
        """
        try:
            content = read_input(folder / _FILE)
        except FileNotFoundError:
            return None
        check, body = content[:_CHECK], content[_CHECK + 1 :]
        if check != _checksum(body):
            raise FeatureError("the catalogue is damaged", where=folder)
        try:
            found = msgspec.json.decode(body, type=cls)
        except msgspec.MsgspecError as error:
            raise FeatureError(f"the catalogue cannot be read: {error}", where=folder) from error
        if (found.version, found.signature) != (_VERSION, signature):
            raise FeatureError("the catalogue belongs to another bundle or version", where=folder)
        return found

    def write(self, folder: Path) -> None:
        """Replace the catalogue of an index.

        Raises:
            OSError: It cannot be written.
        """
        body = msgspec.json.encode(self)
        with atomic_write(folder / _FILE) as file:
            file.write(_checksum(body) + b"\n" + body)

    def live_rows(self) -> int:
        """Rows that belong to a film; copies of a film share theirs."""
        return sum({film.rows.first: film.rows.count for film in self.films if film.rows}.values())


def _checksum(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_CHECK // 2).hexdigest().encode()
