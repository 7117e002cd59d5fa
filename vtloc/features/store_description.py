"""What a store of features says of itself, in a file beside them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

import msgspec

from vtloc.tensor_file import read_whole, write_whole
from vtloc_runtime.bundle.manifest import Preprocessing
from vtloc_runtime.errors import FeatureError

if TYPE_CHECKING:
    from pathlib import Path

_SCHEMA = 1


class StoreEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the descriptions of frames and of tokens share.

    Attributes:
        schema: Version of this schema.
        encoder: Name of the encoder.
        dimension: Width of the features.
    """

    schema: int = _SCHEMA
    encoder: str
    dimension: int

    def check(self, place: Path) -> None:
        """Refuse values that make no sense.

        Raises:
            FeatureError: One of them does not; the message names it.
        """
        if self.dimension < 1:
            raise FeatureError(f"the width of features cannot be {self.dimension}", where=place)


class FramesEntry(StoreEntry, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The schema of ``frames.json``.

    Attributes:
        frames_per_second: How densely videos were sampled.
        shared_space: Columns in the space of the sentence vectors: first, and one past the last.
        preprocessing: How pictures became frames.
    """

    frames_per_second: float
    shared_space: tuple[int, int] | None = None
    preprocessing: Preprocessing = Preprocessing()

    def check(self, place: Path) -> None:
        """Refuse values that make no sense.

        Raises:
            FeatureError: One of them does not; the message names it.
        """
        StoreEntry.check(self, place)
        if not 0 < self.frames_per_second < math.inf:
            raise FeatureError(
                f"frames_per_second must be positive, not {self.frames_per_second:g}", where=place
            )


class TokensEntry(StoreEntry, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The schema of ``tokens.json``."""


_Entry = TypeVar("_Entry", bound=StoreEntry)


class DescribedStore(Generic[_Entry]):
    """One half of a store: a folder, and the description of what it holds.

    Args:
        folder: The store.
        entry: Content of the description.
    """

    description: ClassVar[str]
    """The description's file name."""
    schema: ClassVar[Any]
    """The type of its content."""

    def __init__(self, folder: Path, entry: _Entry) -> None:
        self.folder = folder
        self.entry = entry

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open a store that exists.

        Raises:
            FeatureError: The store does not exist, or a file of it is damaged.
        """
        return cls(folder, cls._read(folder))

    @classmethod
    def create(cls, folder: Path, entry: _Entry) -> Self:
        """Open a store for writing, and create it where there is none.

        Raises:
            FeatureError: The store holds features of another encoder or rate.
            OutputError: It cannot be written.
        """
        place = folder / cls.description
        entry.check(place)
        if not place.exists():
            write_whole(place, msgspec.json.format(msgspec.json.encode(entry)) + b"\n")
        elif (found := cls._read(folder)) != entry:
            raise FeatureError(
                f"the store holds features of {found.encoder}, made another way",
                where=place,
                remedy="Choose another folder with --out",
            )
        return cls(folder, entry)

    @classmethod
    def _read(cls, folder: Path) -> _Entry:
        place = folder / cls.description
        content = read_whole(place, FeatureError)
        try:
            entry: _Entry = msgspec.json.decode(content, type=cls.schema)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise FeatureError(f"the description is not valid: {error}", where=place) from error
        entry.check(place)
        if entry.schema != _SCHEMA:
            raise FeatureError(
                f"the store has schema {entry.schema}; this version reads {_SCHEMA}",
                where=place,
                remedy="Use the vtloc that wrote it, or extract the features again",
            )
        return entry

    @property
    def encoder(self) -> str:
        """Name of the encoder."""
        return self.entry.encoder

    @property
    def dimension(self) -> int:
        """Width of the features."""
        return self.entry.dimension
