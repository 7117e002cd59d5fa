"""Whatever the file, a sample is the frame on screen, and leaving packets out changes no bit."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import films
from tests.support.coded_films import CODECS
from vtloc_runtime.video import FrameReader, open_video

BROADCAST = {"mpegts", "mpeg"}
VARIABLE_RATE = ("h264 with B-frames", "h264 matroska", "hevc", "vp9", "av1", "h264 pyramid")


def on_screen(film: films.Film, reader: FrameReader) -> None:
    """Read all, and compare every number and time with what the film was made of."""
    frames = list(reader)
    asked = [Fraction(frame.asked).limit_denominator(10**6) for frame in frames]
    assert films.numbers(frames) == [film.on_screen(instant) for instant in asked]
    shown = [
        float((film.ticks[film.on_screen(instant)] - film.ticks[0]) * film.time_base)
        for instant in asked
    ]
    np.testing.assert_allclose([frame.time for frame in frames], shown, atol=0.0011)


def assert_same(film_bytes: bytes, **options: Any) -> int:
    """Both strategies give the same frames, times and duration, bit for bit."""
    with open_video(film_bytes, films.whole(strategy="everything", **options)) as reader:
        reference = list(reader)
    with open_video(film_bytes, films.whole(strategy="needed", **options)) as shortcut:
        frames = list(shortcut)
    assert [(one.asked, one.time) for one in frames] == [(o.asked, o.time) for o in reference]
    for one, other in zip(frames, reference, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
    assert (shortcut.duration, shortcut.damaged) == (reader.duration, reader.damaged)
    return len(frames)


@pytest.mark.parametrize("kind", CODECS)
def test_the_number_on_screen_is_read_whatever_the_coding(kind: str) -> None:
    time_base = Fraction(1, 25) if CODECS[kind].get("container") in BROADCAST else Fraction(1, 20)
    film = films.Film(ticks=tuple(range(70)), time_base=time_base, **CODECS[kind])
    data = film.make()
    for rate in (1, Fraction(3, 7), 9):
        with open_video(data, films.whole(frames_per_second=rate)) as reader:
            on_screen(film, reader)
        assert reader.duration == pytest.approx(70 * time_base, abs=0.002)
        assert not reader.damaged
        assert assert_same(data, frames_per_second=rate) == -(-70 * time_base * rate // 1)


@given(
    kind=st.sampled_from(VARIABLE_RATE),
    steps=st.lists(st.integers(1, 40), min_size=1, max_size=50),
    rate=st.fractions(Fraction(1, 4), 12, max_denominator=9),
    start=st.integers(0, 500),
)
@settings(max_examples=25, deadline=None)
def test_variable_rates_and_late_starts_are_followed(
    kind: str, steps: list[int], rate: Fraction, start: int
) -> None:
    ticks = tuple(int(start + tick) for tick in np.cumsum([0, *steps]))
    film = films.Film(ticks=ticks, time_base=Fraction(1, 50), **CODECS[kind])
    data = film.make()
    with open_video(data, films.whole(frames_per_second=rate)) as reader:
        on_screen(film, reader)
    assert_same(data, frames_per_second=rate)


@given(
    instants=st.lists(
        st.integers(0, 69).map(lambda number: number / 20), min_size=1, max_size=12
    ).map(sorted),
    kind=st.sampled_from(["h264 with B-frames", "h264 open groups", "hevc", "av1"]),
)
@settings(max_examples=15, deadline=None)
def test_any_list_of_instants_is_answered_one_by_one(instants: list[float], kind: str) -> None:
    film = films.Film(ticks=tuple(range(70)), **CODECS[kind])
    with open_video(film.make(), films.whole(instants=tuple(instants))) as reader:
        frames = list(reader)
    assert [frame.asked for frame in frames] == instants
    assert films.numbers(frames) == [round(instant * 20) for instant in instants]
    assert reader.duration == pytest.approx(3.5, abs=0.002)


def test_what_lies_before_zero_is_cut_by_the_edit_list_and_never_shown() -> None:
    film = films.Film(ticks=tuple(range(-15, 45)), options={"bf": "2", "g": "25"})
    data = film.make()
    with open_video(data, films.whole(frames_per_second=3)) as reader:
        assert films.numbers(list(reader)) == [15 + 20 * k // 3 for k in range(7)]
    assert reader.duration == pytest.approx(45 / 20, abs=0.002)
    assert assert_same(data, frames_per_second=3) == 7
