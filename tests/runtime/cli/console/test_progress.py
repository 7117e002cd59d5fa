"""Progress in seconds of video: position, total, speed, and what is left."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtloc_runtime.cli.console.progress import RunProgress, VideoProgress


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_long_film_has_a_speed_and_an_end() -> None:
    clock = Clock()
    progress = VideoProgress(1, clock)
    progress.set_length("hour.mp4", 3600.0)
    clock.now = 10.0
    progress.reach("hour.mp4", 900.0)
    assert str(progress) == "15:00 of 1:00:00  90x  0:30 left"


def test_videos_that_nobody_has_looked_at_count_as_long_as_the_others() -> None:
    progress = VideoProgress(4, Clock())
    unknown = progress.total
    assert unknown is None
    progress.set_length("a", 100.0)
    progress.set_length("b", 300.0)
    assert progress.total == 800.0
    progress.finish("a")
    progress.finish("c")
    assert progress.finished == 2
    assert progress.position == 100.0


def test_a_header_that_lies_does_not_make_it_end_before_it_ends() -> None:
    clock = Clock()
    progress = VideoProgress(1, clock)
    progress.set_length("a", 10.0)
    progress.reach("a", 50.0)
    clock.now = 5.0
    assert progress.total == 50.0
    assert progress.remaining == 0.0


names = st.sampled_from("abc")
events = st.lists(
    st.tuples(st.sampled_from(["length", "reach", "finish"]), names, st.floats(0, 1e5))
)


@given(events)
def test_whatever_comes_in_whatever_order_it_lies_within_the_whole(
    happened: list[tuple[str, str, float]],
) -> None:
    clock = Clock()
    progress = VideoProgress(3, clock)
    for what, video, seconds in happened:
        clock.now += 1
        if what == "length":
            progress.set_length(video, seconds)
        elif what == "reach":
            progress.reach(video, seconds)
        else:
            progress.finish(video)
        assert progress.remaining is None or progress.remaining >= 0
        assert str(progress)


def test_the_bar_reads_lengths_ahead_and_leaves_nothing_behind(
    colour_video: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    videos = [str(colour_video), "gone.mp4"]
    with RunProgress(videos, shown=True) as progress:
        progress.reached(videos[0], 6.0)
        with progress.paused():
            pass
        assert progress._ahead is not None
        progress._ahead._thread.join(timeout=60)
        assert progress._state.total == pytest.approx(24.0, abs=0.1)
        progress.advance(videos[0])
    assert "Traceback" not in capfd.readouterr().err


def test_cached_videos_tell_their_own_length_and_start_no_decoder() -> None:
    with RunProgress(["a", "b"], shown=True) as progress:
        progress.advance("a", 6.0)
        assert progress._state.total == 12.0
        progress.advance("b", 4.0)
        assert progress._ahead is None
        assert progress._state.position == progress._state.total == 10.0


def test_no_bar_is_drawn_where_none_is_wanted(capfd: pytest.CaptureFixture[str]) -> None:
    with RunProgress(["a"], shown=False) as progress:
        progress.reached("a", 1.0)
        progress.advance("a")
    assert capfd.readouterr() == ("", "")
