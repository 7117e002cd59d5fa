"""The best spans are the same however many lengths are weighed at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtloc_runtime.localize import nms as suppression


@given(
    length=st.integers(1, 60),
    count=st.integers(1, 4),
    overlap=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    seed=st.integers(0, 2**16),
)
def test_tables_of_any_size_find_the_same_spans(
    length: int, count: int, overlap: float, seed: int
) -> None:
    chance = np.random.default_rng(seed)
    values, starts, ends = chance.normal(size=(3, length))
    scale = 1 / np.sqrt(np.arange(1, length + 1))
    found = []
    for table in (8, 64, 512, 1 << 14):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(suppression, "_TABLE", table)
            found.append(
                suppression.highest_sums(
                    values, scale, count=count, overlap=overlap, starts=starts, ends=ends
                )
            )
    assert all(one == found[0] for one in found)
