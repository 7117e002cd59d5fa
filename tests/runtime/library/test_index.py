"""The index on disk: written by many, read by many, and made again where it is damaged."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import msgspec
import numpy as np
import pytest

from vtloc_runtime.batch.results.records import Failure
from vtloc_runtime.errors import OutputError
from vtloc_runtime.library.catalogue import Film
from vtloc_runtime.library.feature_table import pack
from vtloc_runtime.library.index import Addition, LibraryIndex, Snapshot

WIDTH = 8


def film(number: int, *, rows: int = 5, key: str | None = None) -> Addition:
    block = pack(np.random.default_rng(number).normal(size=(rows, WIDTH)))
    return Addition(Film(name=f"/films/{number}.mp4", key=key or f"key {number}"), block)


def index_in(folder: Path, notices: list[str] | None = None) -> LibraryIndex:
    notice = None if notices is None else notices.append
    return LibraryIndex(folder / "index", "signature", WIDTH, notice=notice)


def assert_holds(snapshot: Snapshot, *additions: Addition) -> None:
    assert set(snapshot.films) == {addition.film.name for addition in additions}
    for addition in additions:
        rows = snapshot.films[addition.film.name].rows
        assert rows is not None
        assert addition.block is not None
        found = snapshot.table[rows.first : rows.first + rows.count]
        np.testing.assert_array_equal(found, addition.block)


def table_of(folder: Path) -> Path:
    (table,) = (folder / "index").glob("frames-*")
    return table


def test_what_is_committed_is_read(tmp_path: Path) -> None:
    index = index_in(tmp_path)
    assert not index.read().films
    assert not (tmp_path / "index").exists()
    assert_holds(index.commit([film(1), film(2)]), film(1), film(2))
    assert_holds(index.commit([film(3)]), film(1), film(2), film(3))
    assert_holds(index_in(tmp_path).read(), film(1), film(2), film(3))


def test_films_are_replaced_and_removed(tmp_path: Path) -> None:
    index = index_in(tmp_path)
    before = index.commit([film(1), film(2)])
    changed = Addition(msgspec.structs.replace(film(1).film, key="other"), film(7).block)
    after = index.commit([changed], gone=[before.films["/films/2.mp4"]])
    assert_holds(after, changed)
    # What another process has replaced is not removed.
    assert_holds(index.commit(gone=[before.films["/films/1.mp4"]]), changed)


def test_a_snapshot_outlives_later_changes(tmp_path: Path) -> None:
    index = index_in(tmp_path)
    before = index.commit([film(1, rows=6000), film(2)])
    index.commit(gone=list(before.films.values()))
    index.commit([film(3)])
    assert_holds(before, film(1, rows=6000), film(2))


def test_copies_share_their_rows(tmp_path: Path) -> None:
    index = index_in(tmp_path)
    copy = Addition(Film(name="/films/copy.mp4", key="key 1"))
    snapshot = index.commit([film(1), copy])
    assert snapshot.catalogue.total == 5
    assert snapshot.films["/films/copy.mp4"].rows == snapshot.films["/films/1.mp4"].rows


def test_failures_are_kept(tmp_path: Path) -> None:
    broken = Film(name="/films/broken.mp4", failure=Failure(kind="video", what="holds no bytes"))
    index_in(tmp_path).commit([Addition(broken)])
    assert index_in(tmp_path).read().films["/films/broken.mp4"] == broken


def test_rows_of_films_that_are_gone_are_removed_once_they_are_most(tmp_path: Path) -> None:
    index = index_in(tmp_path)
    large, small = film(1, rows=9000), film(2, rows=300)
    before = index.commit([large, small])
    old = table_of(tmp_path)
    after = index.commit(gone=[before.films[large.film.name]])
    assert_holds(after, small)
    assert after.catalogue.total == 300
    assert table_of(tmp_path) != old
    assert table_of(tmp_path).stat().st_size < 300 * WIDTH * 2 + 100
    assert_holds(index_in(tmp_path).read(), small)


def test_what_a_killed_writer_left_is_cut_off(tmp_path: Path) -> None:
    index = index_in(tmp_path)
    index.commit([film(1)])
    with table_of(tmp_path).open("ab") as file:
        file.write(b"half of a film")
    (tmp_path / "index" / "frames-abandoned").write_bytes(b"")
    assert_holds(index_in(tmp_path).read(), film(1))
    assert_holds(index.commit([film(2)]), film(1), film(2))
    assert len(list((tmp_path / "index").glob("frames-*"))) == 1


@pytest.mark.parametrize("place", ["header", "first film"])
def test_a_damaged_table_costs_what_it_damages(tmp_path: Path, place: str) -> None:
    index_in(tmp_path).commit([film(1), film(2)])
    with table_of(tmp_path).open("r+b") as file:
        file.seek(0 if place == "header" else 64)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))
    notices: list[str] = []
    snapshot = index_in(tmp_path, notices).read()
    assert_holds(snapshot, *([] if place == "header" else [film(2)]))
    assert len(notices) == 1
    assert_holds(index_in(tmp_path, notices).commit([film(1), film(2)]), film(1), film(2))
    assert_holds(index_in(tmp_path, notices).read(), film(1), film(2))
    assert len(notices) == 1


@pytest.mark.parametrize("size", [0, 10, 100])
def test_a_table_that_ends_too_soon_is_made_again(tmp_path: Path, size: int) -> None:
    index_in(tmp_path).commit([film(1), film(2)])
    with table_of(tmp_path).open("r+b") as file:
        file.truncate(size)
    assert not index_in(tmp_path).read().films
    assert_holds(index_in(tmp_path).commit([film(1)]), film(1))


def test_every_bit_of_the_catalogue_counts(tmp_path: Path) -> None:
    index_in(tmp_path).commit([film(1)])
    path = tmp_path / "index" / "catalogue"
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        if at != 64:  # The line feed after the checksum.
            assert not index_in(tmp_path).read().films
    for content in (b"", b"{}", whole[:-1], b"\0" * 1000, whole * 2):
        path.write_bytes(content)
        assert not index_in(tmp_path).read().films
        assert_holds(index_in(tmp_path).commit([film(1)]), film(1))


def test_another_bundles_index_is_not_read(tmp_path: Path) -> None:
    index_in(tmp_path).commit([film(1)])
    other = LibraryIndex(tmp_path / "index", "another signature", WIDTH)
    assert not other.read().films


def test_a_missing_table_is_made_again(tmp_path: Path) -> None:
    index_in(tmp_path).commit([film(1)])
    table_of(tmp_path).unlink()
    assert not index_in(tmp_path).read().films
    assert_holds(index_in(tmp_path).commit([film(1)]), film(1))


def test_a_copied_index_is_still_good(tmp_path: Path) -> None:
    index_in(tmp_path).commit([film(1)])
    table = table_of(tmp_path)
    content = table.read_bytes()
    table.unlink()
    table.write_bytes(content)
    notices: list[str] = []
    assert_holds(index_in(tmp_path, notices).read(), film(1))
    assert not notices


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "index").write_text("a file")
    with pytest.raises(OutputError, match="index of the library"):
        index_in(tmp_path).commit([film(1)])


def _write_many(folder: Path, first: int) -> None:
    for number in range(first, first + 15):
        index_in(folder).commit([film(number)])


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write_many, args=(tmp_path, 100 * one)) for one in range(3)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        index_in(tmp_path).read()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    films = [film(100 * one + number) for one in range(3) for number in range(15)]
    assert_holds(index_in(tmp_path).read(), *films)
