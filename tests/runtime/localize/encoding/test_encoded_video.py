"""When what a frame shows begins: between samples, as well as the file tells."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtloc_runtime.errors import FeatureError
from vtloc_runtime.localize.encoding.encoded_video import EvenSampling

NO_SCENES = np.empty(0)


def begins(times: list[float], *, period: float = 0.0, scenes: list[float] | None = None) -> list:
    sampling = EvenSampling(1.0, period, np.array(scenes or []))
    return sampling.begins(np.array(times)).tolist()


def test_it_is_the_middle_of_what_was_not_looked_at() -> None:
    assert begins([0, 1, 2, 3]) == [0, 0.5, 1.5, 2.5]
    # At 25 pictures a second, the first that may be another is 0.04 s after the sample.
    assert begins([0, 0.98, 1.98], period=0.04) == pytest.approx([0, 0.51, 1.51])


def test_where_every_picture_is_looked_at_it_is_its_own_time() -> None:
    assert begins([0, 1, 2, 3], period=1.0) == [0, 1, 2, 3]
    assert begins([0, 0.3, 1.3, 2.3], period=1.0) == pytest.approx([0, 0.3, 1.3, 2.3])


def test_a_picture_that_stays_began_when_it_came_on_screen() -> None:
    assert begins([0, 0, 1.7, 1.7, 1.7, 5], period=0.04) == pytest.approx(
        [0, 0, 1.7, 1.7, 1.7, 4.52]
    )


def test_a_keyframe_that_begins_a_scene_is_where() -> None:
    assert begins([0, 1, 2, 3], scenes=[1.2]) == [0, 0.5, 1.2, 2.5]
    assert begins([0, 1, 2, 3], scenes=[1.2, 1.9, 3.0]) == [0, 0.5, 1.9, 3.0]
    # One at the very time of the sample before was seen by that.
    assert begins([0, 1, 2, 3], scenes=[1.0]) == [0, 1.0, 1.5, 2.5]


@given(
    gaps=st.lists(st.integers(0, 40), min_size=1, max_size=30),
    period=st.floats(0, 3),
    scenes=st.sets(st.integers(0, 600), max_size=20),
)
def test_begins_never_fall_nor_come_late(gaps: list[int], period: float, scenes: set[int]) -> None:
    times = np.cumsum(gaps) / 16
    found = EvenSampling(1.0, period, np.array(sorted(scenes)) / 16).begins(times)
    assert (np.diff(found) >= 0).all()
    assert (found <= times).all()
    assert found[0] == times[0]


@pytest.mark.parametrize(
    ("step", "period", "scenes"),
    [
        (0.0, 0.0, NO_SCENES),
        (math.inf, 0.0, NO_SCENES),
        (1.0, -1.0, NO_SCENES),
        (1.0, math.nan, NO_SCENES),
        (1.0, 0.0, np.array([2.0, 1.0])),
        (1.0, 0.0, np.array([math.nan])),
    ],
)
def test_a_sampling_that_makes_no_sense_is_refused(
    step: float, period: float, scenes: np.ndarray
) -> None:
    with pytest.raises(FeatureError, match="makes no sense"):
        EvenSampling(step, period, scenes)
