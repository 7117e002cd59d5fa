"""Long videos: what windows cover, and what is stitched from them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtloc_runtime.localize.spans.windows import Timeline, Window, plan_windows

SIZES = st.integers(1, 60).flatmap(
    lambda frames: st.tuples(st.just(frames), st.integers(0, frames - 1))
)


@given(st.integers(1, 500), SIZES)
def test_windows_cover_the_video_and_share_enough(length: int, sizes: tuple[int, int]) -> None:
    frames, overlap = sizes
    windows = plan_windows(length, frames=frames, overlap=overlap)
    assert (windows[0].start, windows[-1].stop) == (0, length)
    assert {len(window) for window in windows} == {min(frames, length)}
    for one, other in pairwise(windows):
        assert one.start < other.start
        assert one.stop - other.start >= overlap


def test_a_short_video_is_one_window() -> None:
    assert plan_windows(512, frames=512, overlap=128) == (Window(0, 512),)


@given(st.integers(1, 300), SIZES)
def test_windows_that_agree_are_stitched_into_what_they_say(
    length: int, sizes: tuple[int, int]
) -> None:
    logits = np.random.default_rng(0).normal(size=(2, 3, length))
    windows = plan_windows(length, frames=sizes[0], overlap=sizes[1])
    timeline = Timeline(windows, (2, 3))
    for index, window in enumerate(windows):
        timeline.add(index, logits[:, :, window.start : window.stop])
    assert np.allclose(timeline.values(), logits)


def test_a_frame_is_judged_by_the_window_that_sees_more_around_it() -> None:
    windows = (Window(0, 10), Window(6, 16))
    timeline = Timeline(windows, (1,))
    timeline.add(0, np.zeros((1, 10)))
    timeline.add(1, np.ones((1, 10)))
    start = timeline.values()
    assert start[0, :6].tolist() == [0.0] * 6
    assert start[0, 6:10].tolist() == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert start[0, 10:].tolist() == [1.0] * 6
