"""The shown clock: joined recordings run on, sound that starts first counts, edits are obeyed."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from tests.support import films
from vtloc_runtime.video import open_video


@pytest.mark.parametrize("strategy", ["needed", "everything"])
def test_joined_transport_streams_run_on(strategy: str) -> None:
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
def test_pictures_may_change_size_in_the_middle(strategy: str) -> None:
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


def test_sound_that_starts_well_before_the_picture_starts_the_clock() -> None:
    film = films.Film(ticks=tuple(range(60, 100)), container="matroska", sound_from=0.0)
    with open_video(film.make(), films.whole()) as reader:
        frames = list(reader)
    # The picture comes on at 3 s; before that its first frame is shown.
    assert [frame.asked for frame in frames] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert [frame.time for frame in frames] == pytest.approx([3, 3, 3, 3, 4], abs=0.06)
    assert films.numbers(frames) == pytest.approx([0, 0, 0, 0, 20], abs=1)
    assert reader.duration == pytest.approx(5.0, abs=0.06)


def test_sound_that_starts_a_moment_earlier_does_not() -> None:
    film = films.Film(ticks=tuple(range(1, 41)), container="matroska", sound_from=0.0)
    with open_video(film.make(), films.whole()) as reader:
        assert [frame.time for frame in reader] == [0.0, 1.0]


def test_a_gap_holds_its_last_picture() -> None:
    film = films.Film(ticks=(0, 1, 2, 203, 204), container="matroska")
    with open_video(film.make(), films.whole()) as reader:
        frames = list(reader)
    assert films.numbers(frames) == [0] + [2] * 10
    assert frames[-1].time == pytest.approx(0.1)


def test_an_instant_between_two_ticks_shows_the_earlier_frame(read) -> None:
    data = films.Film(ticks=tuple(range(30)), time_base=Fraction(1001, 30000)).make()
    assert read(data, instants=(0.0333, 0.0334, 0.5, 1.0009)) == [0, 1, 14, 29]


def test_instants_past_the_end_are_not_answered(read) -> None:
    assert read(films.Film(ticks=tuple(range(20))).make(), instants=(0.0, 0.99, 1.0, 9.0)) == [
        0,
        19,
    ]


LIVE_WEBM = {"codec": "libvpx", "container": "webm", "container_options": {"live": "1"}}
GLUED: dict[str, dict[str, Any]] = {
    "live webm": LIVE_WEBM,
    "webm": {"codec": "libvpx", "container": "webm"},
    "matroska with B-frames": {"container": "matroska", "options": {"bf": "2", "g": "20"}},
}


@pytest.mark.parametrize("way", ["needed", "everything", "two threads"])
@pytest.mark.parametrize("lengths", [(80, 120), (120, 80), (30, 30)])
@pytest.mark.parametrize("kind", GLUED)
def test_recordings_glued_in_any_format_run_on(
    kind: str, lengths: tuple[int, int], way: str
) -> None:
    first = films.Film(ticks=tuple(range(lengths[0])), **GLUED[kind])
    second = films.Film(ticks=tuple(range(lengths[1])), first_number=lengths[0], **GLUED[kind])
    options = films.whole(
        frames_per_second=2,
        strategy="everything" if way == "everything" else "needed",
        workers=2 if way == "two threads" else 0,
    )
    with open_video(first.make() + second.make(), options) as reader:
        frames = list(reader)
    assert films.numbers(frames) == list(range(0, sum(lengths), 10))
    times = [frame.time for frame in frames]
    assert times == pytest.approx([k / 2 for k in range(len(frames))], abs=0.06)
    assert reader.duration == pytest.approx(sum(lengths) / 20, abs=0.06)


@pytest.mark.parametrize(
    "kind",
    [
        {},
        {"container_options": {"movflags": "frag_keyframe+empty_moov+default_base_moof"}},
        {"container": "flv", "options": {"bf": "0"}},
        {"container": "asf", "codec": "wmv2"},
    ],
)
def test_what_is_not_read_of_joined_recordings_is_said(kind: dict[str, Any]) -> None:
    film = films.Film(ticks=tuple(range(60)), **kind).make()
    with open_video(film, films.whole()) as reader:
        assert films.numbers(list(reader)) == [0, 20, 40]
    assert not reader.warnings
    with open_video(film + film, films.whole()) as reader:
        assert films.numbers(list(reader))[:3] == [0, 20, 40]
    assert any("recording" in warning for warning in reader.warnings)


@pytest.mark.parametrize("strategy", ["needed", "everything"])
@pytest.mark.parametrize("rate", [1, 20])
@pytest.mark.parametrize("b_frames", ["0", "2", "3"])
def test_times_that_only_number_the_packets_are_sorted(
    b_frames: str, rate: int, strategy: str
) -> None:
    options = {"bf": b_frames, "g": "40", "b_strategy": "0"}
    data = bytearray(films.Film(ticks=tuple(range(90)), options=options).make())
    for box in (b"ctts", b"edts"):
        if box in data:
            data[data.index(box) : data.index(box) + 4] = b"free"
    chosen = films.whole(strategy=strategy, frames_per_second=rate)
    with open_video(bytes(data), chosen) as reader:
        frames = list(reader)
    assert films.numbers(frames) == list(range(0, 90, 20 // rate))
    assert [frame.time for frame in frames] == pytest.approx([k / rate for k in range(len(frames))])


def test_sound_that_lasts_longer_is_no_reason_to_warn() -> None:
    for container in ("matroska", "mpegts"):
        film = films.Film(ticks=tuple(range(20)), container=container, sound_from=2.0)
        with open_video(film.make(), films.whole()) as reader:
            list(reader)
        assert not reader.warnings


def test_a_cut_file_with_sound_still_says_so() -> None:
    film = films.Film(ticks=tuple(range(200)), container="matroska", sound_from=0.0).make()
    with open_video(film[: len(film) // 2], films.whole()) as reader:
        list(reader)
    assert any("before the file says" in warning for warning in reader.warnings)


@pytest.mark.parametrize("start", [0, 720_000])
def test_a_slice_of_a_live_stream_that_starts_late_is_whole(start: int) -> None:
    for container in ("mp4", "matroska", "mpegts"):
        fragmented = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
        film = films.Film(
            ticks=tuple(range(start, start + 60)),
            container=container,
            options={"g": "20", "bf": "0"},
            container_options=fragmented if container == "mp4" else {},
        )
        with open_video(film.make(), films.whole()) as reader:
            assert films.numbers(list(reader)) == [0, 20, 40]
        assert not reader.warnings
        assert reader.duration == pytest.approx(3.0, abs=0.06)


def test_a_reader_closed_early_does_not_call_the_file_short() -> None:
    with open_video(films.Film(ticks=tuple(range(200)), options={"g": "20"}).make()) as reader:
        next(iter(reader))
    assert not reader.warnings


def test_the_footer_of_mxf_is_not_taken_for_another_recording() -> None:
    # Its key begins as that of the header does.
    film = films.Film(
        ticks=tuple(range(50)),
        time_base=Fraction(1, 25),
        container="mxf",
        codec="mpeg2video",
        size=(720, 576),
    ).make()
    with open_video(film, films.whole()) as reader:
        assert films.numbers(list(reader)) == [0, 25]
    assert not reader.warnings
