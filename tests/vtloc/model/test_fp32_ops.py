"""The float32 islands: the formulas, at zero, at infinity and in half precision."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vtloc.model.fp32_ops import (
    MASKED,
    LayerNorm,
    masked_softmax,
    squash,
    standardize,
    unit_root_mean_square,
    unit_vectors,
)

numbers = st.floats(-1e3, 1e3, width=32)
vectors = st.lists(numbers, min_size=1, max_size=6)


@given(vectors)
def test_squash_is_equation_10(values: list[float]) -> None:
    length = math.sqrt(sum(value * value for value in values))
    shrunk = squash(torch.tensor(values))
    for value, found in zip(values, shrunk.tolist(), strict=True):
        expected = length**2 / (1 + length**2) * value / length if length > 0 else 0.0
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-5)


@given(vectors)
def test_squash_keeps_lengths_below_one(values: list[float]) -> None:
    assert squash(torch.tensor(values)).norm() <= 1 + 1e-6


def test_squash_has_a_finite_gradient_at_zero() -> None:
    zero = torch.zeros(4, requires_grad=True)
    squash(zero).sum().backward()
    assert zero.grad is not None
    assert torch.isfinite(zero.grad).all()


@pytest.mark.parametrize("function", [unit_vectors, unit_root_mean_square, squash])
def test_half_precision_survives_squares_beyond_its_range(function) -> None:
    large = torch.full((2, 64), 300.0, dtype=torch.float16)
    found = function(large)
    assert found.dtype == torch.float16
    assert torch.allclose(found.float(), function(large.float()), rtol=1e-3)


def test_unit_vectors_leave_zero_at_zero() -> None:
    assert torch.equal(unit_vectors(torch.zeros(2, 3)), torch.zeros(2, 3))


def test_unit_root_mean_square_gives_every_vector_the_same_length() -> None:
    found = unit_root_mean_square(torch.tensor([[3.0, 4.0], [30.0, 40.0]]))
    assert found.square().mean(dim=-1).tolist() == pytest.approx([1.0, 1.0])


def test_a_masked_softmax_ignores_what_is_masked() -> None:
    logits = torch.tensor([1.0, 50.0, 2.0])
    found = masked_softmax(logits, torch.tensor([True, False, True]))
    total = math.exp(1) + math.exp(2)
    assert found.tolist() == pytest.approx([math.exp(1) / total, 0.0, math.exp(2) / total])


def test_a_softmax_over_nothing_is_still_finite() -> None:
    found = masked_softmax(torch.randn(2, 4), torch.zeros(2, 4, dtype=torch.bool))
    assert torch.isfinite(found).all()


def test_the_mask_value_survives_half_precision() -> None:
    assert math.isfinite(torch.tensor(MASKED).half().item())


def test_layer_norm_equals_pytorchs() -> None:
    ours, theirs = LayerNorm(7), torch.nn.LayerNorm(7)
    values = torch.randn(4, 7)
    assert torch.allclose(ours(values), theirs(values), atol=1e-6)


def test_standardizing_looks_at_real_frames_only() -> None:
    curve = torch.tensor([[1.0, 3.0, 99.0]]).unsqueeze(-1)
    found = standardize(curve, torch.tensor([[True, True, False]]))
    assert found.flatten().tolist() == pytest.approx([-1.0, 1.0, 0.0], abs=1e-4)


def test_a_constant_curve_standardizes_to_zero() -> None:
    found = standardize(torch.ones(1, 5, 2), torch.ones(1, 5, dtype=torch.bool))
    assert torch.equal(found, torch.zeros(1, 5, 2))
