"""A checkpoint of a tiny localizer with tiny encoders, which exports and verifies in seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from vtloc.model import LocalizerConfig, LocalizerNetwork, save_checkpoint

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = LocalizerConfig(
    feature_dim=32, token_dim=32, hidden_dim=32, scale_dim=8, capsules=2, capsule_dim=8,
    shared_space=(0, 32),
)  # fmt: skip


def write_tiny_checkpoint(path: Path, *, visual_encoder: str, text_encoder: str) -> Path:
    """Write the checkpoint, of random weights; its encoders are those of `tiny_encoders`."""
    torch.manual_seed(3)
    save_checkpoint(
        path,
        LocalizerNetwork(CONFIG).eval(),
        visual_encoder=visual_encoder,
        text_encoder=text_encoder,
        metadata={"license": "CC0-1.0"},
    )
    return path
