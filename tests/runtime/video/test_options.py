"""Options of a wrong type or value are refused before any video is opened."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtloc_runtime.bundle.manifest import Preprocessing
from vtloc_runtime.errors import UsageError
from vtloc_runtime.video import Limits, VideoOptions

NAN, ENDLESS = float("nan"), float("inf")
WRONG_PREPROCESSING: list[dict[str, Any]] = [
    {"size": 0},
    {"size": 10**9},
    {"size": "224"},
    {"size": 1.5},
    {"resize": "crop"},
    {"interpolation": "nearest"},
]
WRONG: dict[str, list[Any]] = {
    "frames_per_second": [0, -1, NAN, ENDLESS, "1", None, 1j, True, [1], 1e-9, 10**400],
    "instants": [(), (2.0, 1.0), (-1.0,), (NAN,), ("1",), (None,), "12", 5, (1j,), (ENDLESS,)],
    "preprocessing": [
        None,
        "224",
        224,
        *(Preprocessing(**wrong) for wrong in WRONG_PREPROCESSING),
    ],
    "stream": [-1, 1.0, "0", True, NAN],
    "workers": [-1, 1.5, "2", None, True],
    "decoder": ["", "gpu", "nvdec:", "nvdec:x", "cpu\n", None, 3],
    "strategy": ["some", None, 3, ["needed"]],
    "protocols": [("file",), "http", None, (3,), ([],), ("http", "ftp")],
    "timeout": [0.0, -1, NAN, ENDLESS, "5", None],
    "limits": [None, 5, "limits"],
}


@pytest.mark.parametrize(("name", "value"), [(name, v) for name in WRONG for v in WRONG[name]])
def test_what_cannot_be_meant_is_refused(name: str, value: Any) -> None:
    with pytest.raises(UsageError) as raised:
        VideoOptions(**{name: value})
    assert name in str(raised.value)


@pytest.mark.parametrize("name", ["pixels", "frames", "seconds", "decoding_seconds"])
@pytest.mark.parametrize("value", [0, -1, NAN, "5", None, True, 1j])
def test_a_limit_that_is_none_is_refused(name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=name):
        Limits(**{name: value})


def test_numbers_of_every_kind_are_taken() -> None:
    given: dict[str, Any] = {
        "frames_per_second": np.float32(2),
        "instants": (0, Fraction(1, 3), np.float64(2)),
        "workers": np.int64(1),
    }
    options = VideoOptions(**given, limits=Limits(seconds=float("inf")))
    assert [float(target) for target in options.targets()] == pytest.approx([0, 1 / 3, 2])
    assert VideoOptions(frames_per_second=0.1).rate == Fraction(1, 10)


ANYTHING = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.complex_numbers()
)


@given(name=st.sampled_from(sorted(WRONG)), value=ANYTHING | st.lists(ANYTHING, max_size=3))
def test_nothing_but_our_own_error_comes_out(name: str, value: Any) -> None:
    try:
        VideoOptions(**{name: value})
    except UsageError:
        return
