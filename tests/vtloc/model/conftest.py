"""Small networks and batches that the tests of the model share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from vtloc.model import LocalizerConfig, LocalizerNetwork


@dataclass(frozen=True)
class Batch:
    features: Tensor
    frame_mask: Tensor
    tokens: Tensor
    token_mask: Tensor

    def inputs(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.features, self.frame_mask, self.tokens, self.token_mask


@pytest.fixture
def config() -> LocalizerConfig:
    return LocalizerConfig(
        feature_dim=20,
        token_dim=12,
        hidden_dim=16,
        scale_dim=6,
        capsules=3,
        capsule_dim=5,
        attention_heads=2,
        shared_space=(4, 16),
    )


@pytest.fixture
def batch() -> Batch:
    """Three videos of 9, 6 and 1 frames with sentences of 4, 1 and 3 tokens."""
    generator = torch.Generator().manual_seed(5)
    frames, tokens = torch.tensor([9, 6, 1]), torch.tensor([4, 1, 3])
    return Batch(
        features=torch.randn(3, 9, 20, generator=generator),
        frame_mask=torch.arange(9) < frames[:, None],
        tokens=torch.randn(3, 4, 12, generator=generator),
        token_mask=torch.arange(4) < tokens[:, None],
    )


def build(config: LocalizerConfig, **changes: Any) -> LocalizerNetwork:
    torch.manual_seed(3)
    return LocalizerNetwork(replace(config, **changes)).eval()


@pytest.fixture(name="build")
def build_fixture():
    return build
