"""Equations (3) to (6), by plain loops, and positions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from vtloc.model.multiscale import MultiScaleBlock
from vtloc.model.positions import SinusoidalPositions


def convolve(frames: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """One Conv1d by loops; past the ends there is nothing."""
    steps, length = len(frames), weight.shape[2]
    out = np.zeros((steps, len(weight)))
    for step in range(steps):
        for channel in range(len(weight)):
            total = bias[channel]
            for tap in range(length):
                source = step + tap - length // 2
                if 0 <= source < steps:
                    total += weight[channel, :, tap] @ frames[source]
            out[step, channel] = total
    return out


def layer_norm(rows: np.ndarray) -> np.ndarray:
    centred = rows - rows.mean(axis=-1, keepdims=True)
    return centred / np.sqrt(rows.var(axis=-1, keepdims=True) + 1e-5)


def test_the_block_is_equations_3_to_6() -> None:
    torch.manual_seed(0)
    block = MultiScaleBlock(8, 4, (1, 3, 5)).double()
    frames = torch.randn(1, 7, 8, dtype=torch.float64)
    scales = [
        np.maximum(
            convolve(frames[0].numpy(), *(p.detach().numpy() for p in branch.parameters())), 0
        )
        for branch in block.branches
    ]
    weight, bias = (p.detach().numpy() for p in block.fuse.parameters())
    fused = np.concatenate(scales, axis=1) @ weight.T + bias
    expected = layer_norm(fused) + frames[0].numpy()
    found = block(frames, torch.ones(1, 7, dtype=torch.bool))
    assert np.allclose(found[0].detach().numpy(), expected, atol=1e-5)


def test_padding_never_leaks_into_real_frames() -> None:
    block = MultiScaleBlock(8, 4, (1, 3, 5))
    frames = torch.randn(1, 9, 8)
    mask = torch.arange(9).unsqueeze(0) < 6
    padded = block(frames, mask)[:, :6]
    assert torch.allclose(padded, block(frames[:, :6], mask[:, :6]), atol=1e-6)


def test_positions_are_sines_and_cosines_of_the_index() -> None:
    found = SinusoidalPositions(6)(torch.zeros(2, 40, 6))
    for frame in (0, 1, 39):
        for pair in range(3):
            angle = frame / 10_000 ** (pair / 3)
            assert found[1, frame, pair].item() == pytest.approx(math.sin(angle), abs=1e-5)
            assert found[1, frame, 3 + pair].item() == pytest.approx(math.cos(angle), abs=1e-5)


def test_half_precision_still_tells_late_frames_apart() -> None:
    positions = SinusoidalPositions(64).half()(torch.zeros(1, 4100, 64, dtype=torch.float16))
    assert not torch.equal(positions[0, 4096], positions[0, 4097])
