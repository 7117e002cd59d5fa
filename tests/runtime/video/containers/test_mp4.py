"""MP4 boxes: cut, glued, encrypted and paused files are recognised."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import films
from vtloc_runtime.video.containers.mp4 import Mp4File


def opened(data: bytes) -> Mp4File:
    return Mp4File(lambda position, size: data[position : position + size], len(data))


@pytest.fixture(scope="module")
def film() -> bytes:
    return films.Film(ticks=tuple(range(40))).make()


def with_edits(film: bytes, edits: list[tuple[int, int, int]]) -> bytes:
    """The film with another edit list: duration, media time and rate of each edit."""
    place = film.index(b"elst")
    old = struct.unpack(">I", film[place - 4 : place])[0]
    body = struct.pack(">II", 0, len(edits))
    body += b"".join(struct.pack(">IiHH", *edit, 0) for edit in edits)
    added = len(body) + 8 - old
    data = bytearray(film[: place + 4] + body + film[place - 4 + old :])
    for box in (b"moov", b"trak", b"edts", b"elst"):
        at = data.index(box) - 4
        struct.pack_into(">I", data, at, struct.unpack_from(">I", data, at)[0] + added)
    return bytes(data)


def test_a_whole_film_is_plain(film: bytes) -> None:
    file = opened(film)
    assert file.recognised
    assert file.has(b"moov")
    assert (file.recordings, file.encrypted, file.paused) == (1, False, False)


@pytest.mark.parametrize(
    ("edits", "paused"),
    [
        ([(2000, 0, 1)], False),
        ([(500, -1, 1), (2000, 0, 1)], False),
        ([(500, 0, 1), (500, -1, 1), (500, 10240, 1)], True),
        ([(500, 0, 1), (500, 5120, 0), (500, 10240, 1)], True),
        ([(500, 0, 1), (500, 10240, 1)], False),
    ],
)
def test_pauses_in_an_edit_list_are_seen(
    film: bytes, edits: list[tuple[int, int, int]], paused: bool
) -> None:
    assert opened(with_edits(film, edits)).paused is paused


def test_recordings_that_were_glued_are_counted(film: bytes) -> None:
    assert opened(film + film).recordings == 2


def test_encryption_is_seen() -> None:
    assert opened(films.encrypted()).encrypted


@given(data=st.data())
def test_damage_never_escapes(data: st.DataObject, film: bytes) -> None:
    damaged = bytearray(film[: data.draw(st.integers(0, len(film)))])
    for _ in range(data.draw(st.integers(0, 20))):
        if damaged:
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    file = opened(bytes(damaged))
    assert file.recordings >= 0
    assert file.encrypted in {True, False}
    assert file.paused in {True, False}
