"""Empty chunks of an AVI file repeat the picture before them."""

from __future__ import annotations

import struct
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import films
from vtloc_runtime.video import open_video
from vtloc_runtime.video.containers.avi import trailing_repeats


def emptied(film: bytes, empty: set[int]) -> bytes:
    """A video-only AVI file, some of whose chunks hold nothing."""
    movi = film.index(b"movi") + 4
    end = movi - 4 + struct.unpack_from("<I", film, movi - 8)[0]
    chunks, position = [], movi
    while position < end:
        length = struct.unpack_from("<I", film, position + 4)[0]
        if film[position : position + 4] == b"00dc":
            chunks.append(film[position + 8 : position + 8 + length])
        position += 8 + length + length % 2
    body, index = b"", b""
    for number, content in enumerate(chunks):
        kept = b"" if number in empty else content
        index += struct.pack("<4sIII", b"00dc", 0x10, len(body) + 4, len(kept))
        body += b"00dc" + struct.pack("<I", len(kept)) + kept + b"\0" * (len(kept) % 2)
    data = film[: movi - 8] + struct.pack("<I", len(body) + 4) + b"movi" + body
    data += b"idx1" + struct.pack("<I", len(index)) + index
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]


@pytest.fixture(scope="module")
def film() -> bytes:
    return films.Film(
        ticks=tuple(range(50)),
        time_base=Fraction(1, 10),
        codec="mjpeg",
        pixels="yuvj420p",
        container="avi",
    ).make()


@pytest.mark.parametrize("strategy", ["needed", "everything"])
@pytest.mark.parametrize(
    ("empty", "expected"),
    [
        (set(), [0, 10, 20, 30, 40]),
        (set(range(25, 50)), [0, 10, 20, 24, 24]),
        (set(range(8, 33)), [0, 7, 7, 7, 40]),
        ({49}, [0, 10, 20, 30, 40]),
    ],
)
def test_the_last_picture_stays(
    strategy: str, empty: set[int], expected: list[int], film: bytes
) -> None:
    with open_video(emptied(film, empty), films.whole(strategy=strategy)) as reader:
        assert films.numbers(list(reader)) == expected
    assert reader.duration == pytest.approx(5.0)
    assert not reader.warnings


def test_a_cut_file_still_says_so(film: bytes) -> None:
    with open_video(film[: len(film) // 2], films.whole()) as reader:
        assert 2 <= len(list(reader)) <= 3
    assert reader.warnings


@given(data=st.data())
def test_damage_never_escapes(data: st.DataObject, film: bytes) -> None:
    damaged = bytearray(film[: data.draw(st.integers(0, len(film)))])
    for _ in range(data.draw(st.integers(0, 20))):
        if damaged:
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    content = bytes(damaged)
    repeats = trailing_repeats(lambda at, size: content[at : at + size], len(content), 0)
    assert 0 <= repeats <= len(content)
