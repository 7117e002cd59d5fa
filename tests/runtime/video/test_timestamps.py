"""The shown clock: joined recordings run on, sound that starts first counts, edits are obeyed."""

from __future__ import annotations

from fractions import Fraction

import pytest

from vtloc_runtime.video import open_video


@pytest.mark.parametrize("strategy", ["needed", "everything"])
def test_joined_transport_streams_run_on(strategy: str, films: object) -> None:
    first = films.Film(ticks=tuple(range(75)), time_base=Fraction(1, 25), container="mpegts")
    second = films.Film(
        ticks=tuple(range(50)), time_base=Fraction(1, 25), container="mpegts", first_number=75
    )
    joined = first.make() + second.make()
    with open_video(joined, films.whole(frames_per_second=5, strategy=strategy)) as reader:
        frames = list(reader)
    assert films.numbers(frames) == list(range(0, 125, 5))
    assert [frame.time for frame in frames] == pytest.approx([k / 5 for k in range(25)], abs=0.01)
    assert reader.duration == pytest.approx(5.0, abs=0.05)


@pytest.mark.parametrize("strategy", ["needed", "everything"])
def test_pictures_may_change_size_in_the_middle(strategy: str, films: object) -> None:
    first = films.Film(ticks=tuple(range(50)), time_base=Fraction(1, 25), container="mpegts")
    second = films.Film(
        ticks=tuple(range(50)),
        time_base=Fraction(1, 25),
        container="mpegts",
        first_number=50,
        size=(176, 96),
    )
    joined = first.make() + second.make()
    with open_video(joined, films.whole(frames_per_second=4, strategy=strategy)) as reader:
        assert films.numbers(list(reader)) == [k * 25 // 4 for k in range(16)]


def test_sound_that_starts_well_before_the_picture_starts_the_clock(films: object) -> None:
    film = films.Film(ticks=tuple(range(60, 100)), container="matroska", sound_from=0.0)
    with open_video(film.make(), films.whole()) as reader:
        frames = list(reader)
    # The picture comes on at 3 s; before that its first frame stands in.
    assert [frame.asked for frame in frames] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert [frame.time for frame in frames] == pytest.approx([3, 3, 3, 3, 4], abs=0.06)
    assert films.numbers(frames) == pytest.approx([0, 0, 0, 0, 20], abs=1)
    assert reader.duration == pytest.approx(5.0, abs=0.06)


def test_sound_that_starts_a_moment_earlier_does_not(films: object) -> None:
    film = films.Film(ticks=tuple(range(1, 41)), container="matroska", sound_from=0.0)
    with open_video(film.make(), films.whole()) as reader:
        assert [frame.time for frame in reader] == [0.0, 1.0]


def test_a_gap_holds_its_last_picture(films: object) -> None:
    film = films.Film(ticks=(0, 1, 2, 203, 204), container="matroska")
    with open_video(film.make(), films.whole()) as reader:
        frames = list(reader)
    assert films.numbers(frames) == [0] + [2] * 10
    assert frames[-1].time == pytest.approx(0.1)


def test_an_instant_between_two_ticks_shows_the_earlier_frame(films: object, read) -> None:
    data = films.Film(ticks=tuple(range(30)), time_base=Fraction(1001, 30000)).make()
    assert read(data, instants=(0.0333, 0.0334, 0.5, 1.0009)) == [0, 1, 14, 29]


def test_instants_past_the_end_are_not_answered(films: object, read) -> None:
    assert read(films.Film(ticks=tuple(range(20))).make(), instants=(0.0, 0.99, 1.0, 9.0)) == [
        0,
        19,
    ]
