"""Pictures decoded elsewhere: wrong types and values end in one clear error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtloc_runtime.errors import VideoError, VtlocError
from vtloc_runtime.video import FrameSequence, open_video

TWO = np.zeros((2, 8, 8, 3), np.uint8)


@pytest.mark.parametrize(
    ("images", "times"),
    [
        (np.zeros((2, 0, 0, 3), np.uint8), [0, 1]),
        (np.zeros((2, 8, 0, 3), np.uint8), [0, 1]),
        (np.zeros((2, 8, 8, 4), np.uint8), [0, 1]),
        (np.zeros((8, 8, 3), np.uint8), [0, 1]),
        (np.zeros((2, 8, 8, 3)), [0, 1]),
        ([np.zeros((8, 8, 3), np.uint8), [[0, 0, 0]]], [0, 1]),
        ([None, None], [0, 1]),
        (None, [0, 1]),
        (5, [0, 1]),
        ("pictures", [0, 1]),
        ({}, []),
        ((image for image in TWO), [0, 1]),
        (TWO, None),
        (TWO, 5),
        (TWO, "01"),
        (TWO, ["0", "1"]),
        (TWO, [0, None]),
        (TWO, [[0], [0, 1]]),
        (TWO, [[0, 1]]),
        (TWO, [0, float("nan")]),
        (TWO, [0, float("inf")]),
        (TWO, [1, 0]),
        (TWO, [0, 1j]),
        (TWO, np.array([0, 1], dtype=complex)),
        (TWO, [object(), object()]),
        (TWO, [False, True]),
        (TWO, [0, 10**400]),
    ],
)
def test_what_is_not_pictures_and_times_is_refused(images: Any, times: Any) -> None:
    with pytest.raises(VideoError) as raised:
        FrameSequence(images, times)
    assert raised.value.remedy


@pytest.mark.parametrize(
    "duration", ["5", float("nan"), float("inf"), -1, 0, 0.5, 1j, None.__class__, [5], True]
)
def test_a_duration_that_is_none_is_refused(duration: Any) -> None:
    with pytest.raises(VideoError, match="duration"):
        FrameSequence(TWO, [0, 1], duration=duration)


def test_pictures_may_differ_in_size_and_times_may_be_integers() -> None:
    images = (np.zeros((8, 16, 3), np.uint8), np.full((32, 8, 3), 255, np.uint8))
    duration: Any = np.float32(2.5)
    with open_video(FrameSequence(images, np.array([3, 4]), duration=duration)) as reader:
        frames = list(reader)
    assert [frame.image.mean() for frame in frames] == [0, 255, 255]
    assert reader.duration == 2.5


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)


@given(times=ANYTHING, duration=ANYTHING)
def test_nothing_but_our_own_error_comes_out(times: Any, duration: Any) -> None:
    try:
        sequence = FrameSequence(TWO, times, duration=duration)
    except VtlocError:
        return
    assert sequence.duration >= sequence.times[-1] >= 0
