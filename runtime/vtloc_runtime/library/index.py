"""The index of a library on disk: a catalogue of films and a table of their frames.

Any number of processes may read and write it. A writer holds a lock, appends to the table, and then
replaces the catalogue in one step; readers see the old catalogue or the new one, and rows never
change. The index only repeats what the films hold, so a damaged part is left out and made again.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from vtloc_runtime.errors import FeatureError, OutputError
from vtloc_runtime.library.catalogue import Catalogue, Film, Rows, film_name
from vtloc_runtime.library.feature_table import (
    append,
    copy_rows,
    is_whole,
    map_table,
    new_table,
    table_state,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LOCK = "lock"
_TRIES = 10
_SPARE = 4096
"""Rows of films that are gone which are always tolerated."""


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """The index at one moment; later changes do not show.

    Attributes:
        catalogue: The films.
        table: ``[total, Ds]`` float16, mapped from the disk.
        films: The films by name.
        by_key: The films that can be read, by their key; of copies one.
    """

    catalogue: Catalogue
    table: NDArray[np.float16]
    films: dict[str, Film] = field(init=False)
    by_key: dict[str, Film] = field(init=False)

    def __post_init__(self) -> None:
        films = self.catalogue.films
        object.__setattr__(self, "films", {film.name: film for film in films})
        object.__setattr__(self, "by_key", {film.key: film for film in films if film.rows})

    def entry(self, video: str) -> Film | None:
        """The entry of a film, whether up to date or not."""
        return self.films.get(film_name(video))


@dataclass(frozen=True, slots=True, eq=False)
class Addition:
    """A film to add.

    Attributes:
        film: The film; it need not know yet where its frames lie.
        block: ``[M, Ds]``, its frames as `pack` makes them; None for a copy of a film that the
            index holds, or one that cannot be read.
    """

    film: Film
    block: NDArray[np.float16] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Loaded:
    """What was read.

    Attributes:
        snapshot: The index; None if it cannot be used.
        damaged: Films whose rows are damaged.
        doubtful: Whether the table's file was not as the last writer had left it.
    """

    snapshot: Snapshot | None
    damaged: Sequence[Film] = ()
    doubtful: bool = False


class LibraryIndex:
    """The index of one library, for one bundle.

    Args:
        folder: Where it lies; created with the first commit.
        signature: What its features depend on beside the films.
        width: Numbers in a row.
        notice: Called with a line for people when the index had to be repaired.
    """

    def __init__(
        self,
        folder: Path,
        signature: str,
        width: int,
        *,
        notice: Callable[[str], None] | None = None,
    ) -> None:
        self.folder = folder
        self._signature = signature
        self._width = width
        self._notice = notice or (lambda _line: None)

    def read(self) -> Snapshot:
        """Read the index; damaged parts are left out, and are removed from the disk.

        Raises:
            OutputError: The folder cannot be read or repaired.
        """
        with self._errors():
            if not self.folder.exists():
                return self._empty()
            with self._locked(write=False):
                loaded = self._load()
            if loaded.snapshot is not None and not loaded.doubtful:
                return loaded.snapshot
            if loaded.snapshot is None or loaded.damaged:
                self._notice(f"{self.folder}: the index is damaged; what is missing is made again")
            return self.commit(gone=loaded.damaged)

    def commit(self, added: Iterable[Addition] = (), *, gone: Iterable[Film] = ()) -> Snapshot:
        """Add and remove films.

        Args:
            added: Films to add, or to put in the place of those of the same name.
            gone: Films to remove, unless another process has replaced them.

        Returns:
            The index after that.

        Raises:
            OutputError: The index cannot be written.
        """
        with self._errors(), self._locked(write=True):
            loaded = self._load()
            before = loaded.snapshot or self._empty()
            films = _without(before.films, loaded.damaged)
            # A film that was only renamed keeps its rows.
            rows = {film.key: film.rows for film in films.values() if film.rows is not None}
            films = _without(films, gone)
            catalogue = before.catalogue
            if not catalogue.table:
                catalogue = Catalogue(
                    signature=self._signature, table=new_table(self.folder, self._width)
                )
            catalogue = self._add(catalogue, films, rows, list(added))
            catalogue = self._compact(catalogue)
            catalogue = msgspec.structs.replace(
                catalogue, state=table_state(self.folder / catalogue.table)
            )
            catalogue.write(self.folder)
            self._remove_others(catalogue.table)
            return self._map(catalogue)

    def _load(self) -> _Loaded:
        """Read the index, and look at every row if its file is not as the last writer left it."""
        for _ in range(_TRIES):
            try:
                catalogue = Catalogue.read(self.folder, self._signature)
                if catalogue is None:
                    return _Loaded(self._empty())
                state = table_state(self.folder / catalogue.table)
                found = self._map(catalogue)
            except FeatureError:
                break
            except FileNotFoundError:
                # Where locks do not work, another process may have replaced it just now.
                continue
            if state is not None and state == catalogue.state:
                return _Loaded(found)
            damaged = [
                film
                for film in catalogue.films
                if film.rows is not None and not is_whole(found.table, film.rows)
            ]
            return _Loaded(found, damaged, doubtful=True)
        return _Loaded(None)

    def _map(self, catalogue: Catalogue) -> Snapshot:
        table = map_table(self.folder / catalogue.table, catalogue.total, self._width)
        for rows in (film.rows for film in catalogue.films if film.rows is not None):
            if not 0 <= rows.first < rows.first + rows.count <= len(table):
                raise FeatureError("the catalogue and the table disagree", where=self.folder)
        return Snapshot(catalogue, table)

    def _empty(self) -> Snapshot:
        nothing = np.empty((0, self._width), dtype=np.float16)
        return Snapshot(Catalogue(signature=self._signature), nothing)

    def _add(
        self,
        catalogue: Catalogue,
        films: dict[str, Film],
        rows: dict[str, Rows],
        added: list[Addition],
    ) -> Catalogue:
        """Append what is new, and give every film its rows."""
        fresh: dict[str, NDArray[np.float16]] = {}
        for addition in added:
            if addition.block is not None and addition.film.key not in rows:
                fresh.setdefault(addition.film.key, addition.block)
        total = catalogue.total
        if fresh:
            placed = append(self.folder / catalogue.table, total, fresh.values(), width=self._width)
            rows |= dict(zip(fresh, placed, strict=True))
            total = placed[-1].first + placed[-1].count
        for film in (addition.film for addition in added):
            if film.failure is not None:
                films[film.name] = msgspec.structs.replace(film, rows=None)
            elif film.key in rows:
                films[film.name] = msgspec.structs.replace(film, rows=rows[film.key])
        return msgspec.structs.replace(catalogue, total=total, films=tuple(films.values()))

    def _compact(self, catalogue: Catalogue) -> Catalogue:
        """Copy the rows of the films that are left into a new table, once most are of others."""
        live = catalogue.live_rows()
        if catalogue.total - live <= live + _SPARE:
            return catalogue
        table = new_table(self.folder, self._width)
        ranges = list(
            {film.rows.first: film.rows for film in catalogue.films if film.rows}.values()
        )
        source = map_table(self.folder / catalogue.table, catalogue.total, self._width)
        placed = copy_rows(source, ranges, self.folder / table)
        moved: dict[int, Rows] = {old.first: new for old, new in zip(ranges, placed, strict=True)}
        films = tuple(
            msgspec.structs.replace(film, rows=moved[film.rows.first]) if film.rows else film
            for film in catalogue.films
        )
        return msgspec.structs.replace(catalogue, table=table, total=live, films=films)

    def _remove_others(self, table: str) -> None:
        """Remove tables that no catalogue names: old ones, and those of killed writers."""
        for path in self.folder.glob("frames-*"):
            if path.name != table:
                with contextlib.suppress(OSError):
                    path.unlink()

    @contextmanager
    def _locked(self, *, write: bool) -> Iterator[None]:
        import fcntl

        if write:
            self.folder.mkdir(parents=True, exist_ok=True)
        try:
            how = os.O_RDWR | os.O_CREAT if write else os.O_RDONLY
            descriptor = os.open(self.folder / _LOCK, how | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:
            # Nobody has written here yet.
            yield
            return
        try:
            # Some network file systems have no locks.
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX if write else fcntl.LOCK_SH)
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"the index of the library cannot be read or written: {error.strerror or error}",
                where=self.folder,
                remedy="Free space there, or name another cache folder in VTLOC_CACHE",
            ) from error


def _without(films: dict[str, Film], removed: Iterable[Film]) -> dict[str, Film]:
    """Films but for some, unless another has taken the name."""
    unwanted = {film.name: film for film in removed}
    return {name: film for name, film in films.items() if unwanted.get(name) != film}
