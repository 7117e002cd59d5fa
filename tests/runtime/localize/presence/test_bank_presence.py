"""The scale that ordinary sentences set: its quantiles are NumPy's own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtloc_runtime.localize.presence.bank_presence import quantiles

SHARES = st.floats(0, 1)


@given(size=st.integers(1, 700), levels=st.integers(1, 1000), share=SHARES, seed=st.integers(0, 99))
def test_a_quantile_is_numpys_own(size: int, levels: int, share: float, seed: int) -> None:
    # Few levels give equal numbers, which frames that stay on screen have too.
    values = np.random.default_rng(seed).integers(0, levels, size) / 7
    (found,) = quantiles(values, share)
    assert found == np.quantile(values, share)
    # Of single numbers NumPy's versions round the last bit otherwise.
    (single,) = quantiles(values.astype(np.float32), share)
    assert single.dtype == np.float32
    assert single == pytest.approx(found, rel=1e-6)


def test_several_at_once_are_taken_on_the_last_axis() -> None:
    values = np.random.default_rng(0).normal(size=(5, 40))
    found = quantiles(values, 0.1, 0.5, 0.9)
    np.testing.assert_array_equal(found, np.quantile(values, (0.1, 0.5, 0.9), axis=-1))
