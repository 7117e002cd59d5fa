"""Equations (12) and (16) to (19), by plain loops."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from vtloc.errors import ConfigurationError
from vtloc.model.losses import (
    LossConfig,
    Targets,
    alignment_loss,
    diversity_loss,
    localization_loss,
    smooth_boundaries,
    total_loss,
)


def test_boundaries_become_bumps_of_height_one() -> None:
    found = smooth_boundaries(torch.tensor([[2, 6]]), torch.tensor([[True, True]]), 8, 1.5)
    for frame in range(8):
        expected = max(math.exp(-(((frame - at) / 1.5) ** 2) / 2) for at in (2, 6))
        assert found[0, frame].item() == pytest.approx(expected, rel=1e-5)


def test_a_query_without_a_moment_has_no_bump() -> None:
    found = smooth_boundaries(torch.tensor([[2]]), torch.tensor([[False]]), 8, 1.0)
    assert torch.equal(found, torch.zeros(1, 8))


def test_the_localization_loss_is_equation_17_over_real_frames() -> None:
    generator = torch.Generator().manual_seed(0)
    start, end = torch.randn(2, 2, 4, generator=generator, dtype=torch.float64)
    targets = torch.rand(2, 2, 4, generator=generator, dtype=torch.float64)
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    total = 0.0
    for logits, target in ((start, targets[0]), (end, targets[1])):
        for row, count in enumerate((4, 2)):
            for frame in range(count):
                p = 1 / (1 + math.exp(-logits[row, frame]))
                y = float(target[row, frame])
                total -= (y * math.log(p) + (1 - y) * math.log(1 - p)) / count / 2
    found = localization_loss(start, end, Targets(targets[0], targets[1], mask), mask)
    assert found.item() == pytest.approx(total, rel=1e-6)


def test_padding_logits_cost_nothing() -> None:
    logits = torch.tensor([[0.0, -1e4]])
    targets = Targets(torch.zeros(1, 2), torch.zeros(1, 2), torch.zeros(1, 2) > 0)
    mask = torch.tensor([[True, False]])
    found = localization_loss(logits, logits, targets, mask)
    assert found.item() == pytest.approx(2 * math.log(2))


def test_the_alignment_loss_is_equation_18() -> None:
    generator = np.random.default_rng(0)
    frames, sentences = generator.normal(size=(3, 4, 5)), generator.normal(size=(3, 5))
    inside = np.array([[1, 1, 0, 0], [0, 0, 0, 1], [0, 1, 1, 1]], dtype=bool)
    moments = [frames[i][inside[i]].mean(axis=0) for i in range(3)]

    def similarity(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) / 0.07

    expected = np.mean(
        [
            -math.log(
                math.exp(similarity(moments[i], sentences[i]))
                / sum(math.exp(similarity(moment, sentences[i])) for moment in moments)
            )
            for i in range(3)
        ]
    )
    found = alignment_loss(
        torch.tensor(frames), torch.tensor(inside), torch.tensor(sentences), 0.07
    )
    assert found.item() == pytest.approx(expected, rel=1e-4)


def test_queries_without_a_moment_take_no_part_in_the_alignment() -> None:
    frames, sentence = torch.randn(3, 4, 5), torch.randn(3, 5)
    inside = torch.tensor([[True] * 4, [False] * 4, [True] * 4])
    with_empty = alignment_loss(frames, inside, sentence, 0.07)
    kept = [0, 2]
    without = alignment_loss(frames[kept], inside[kept], sentence[kept], 0.07)
    assert with_empty.item() == pytest.approx(without.item(), rel=1e-5)


def test_the_diversity_loss_is_equation_19() -> None:
    capsules = torch.randn(2, 3, 4, 5)
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    total = 0.0
    for row in range(2):
        pooled = [capsules[row, k][mask[row]].mean(dim=0) for k in range(3)]
        total += sum(
            abs(float(pooled[i] @ pooled[j])) for i in range(3) for j in range(3) if i != j
        )
    assert diversity_loss(capsules, mask).item() == pytest.approx(total / 2, rel=1e-5)


def test_the_total_is_equation_16_and_diversity_waits_for_its_epoch(config, batch, build) -> None:
    network = build(config)
    states = network.states(*batch.inputs())
    frames = batch.frame_mask.shape[1]
    bump = smooth_boundaries(torch.tensor([[0]] * 3), torch.tensor([[True]] * 3), frames, 1.0)
    targets = Targets(bump, bump, batch.frame_mask)
    weights = LossConfig(diversity_from_epoch=10)
    early, late = (
        total_loss(states, targets, batch.frame_mask, batch.token_mask, config=weights, epoch=epoch)
        for epoch in (9, 10)
    )
    assert early.diversity.item() == 0
    assert late.diversity.item() > 0
    assert late.total.item() == pytest.approx(
        late.localization.item() + 0.5 * late.alignment.item() + 0.1 * late.diversity.item()
    )


@pytest.mark.parametrize("field", ["temperature", "sigma"])
def test_impossible_loss_configurations_are_refused(field: str) -> None:
    wrong: dict[str, Any] = {field: 0.0}
    with pytest.raises(ConfigurationError, match="positive"):
        LossConfig(**wrong)
