"""What a tensor's specification says about the lengths of its axes."""

from __future__ import annotations

import pytest

from vtloc_runtime.networks.interface import TensorSpec

SHAPE = ("batch", "frames", 384)
FREE = TensorSpec("features", "float32", SHAPE)
LIMITED = TensorSpec("features", "float32", SHAPE, {"batch": (2, 8), "frames": (1, 256)})
FIXED = TensorSpec("frames", "uint8", (4, 224, 224, 3))


def test_an_axis_is_as_long_as_its_limit_its_shape_or_anything() -> None:
    assert [spec.longest(1) for spec in (FREE, LIMITED, FIXED)] == [None, 256, 224]
    assert FREE.longest(2) == 384


@pytest.mark.parametrize(
    ("spec", "wanted", "batch"),
    [(FREE, 16, 16), (FREE, 0, 1), (LIMITED, 16, 8), (LIMITED, 3, 3), (FIXED, 1, 4), (FIXED, 9, 4)],
)
def test_a_batch_is_as_large_as_wanted_within_the_limits(
    spec: TensorSpec, wanted: int, batch: int
) -> None:
    assert spec.batch(wanted) == batch
