"""Sinusoidal positions: frames encoded one by one know nothing of their order."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

_LONGEST_WAVE = 10_000.0


class SinusoidalPositions(nn.Module):
    """Adds the sines and cosines of each frame's index, for any number of frames.

    Args:
        width: Even width of the frames; the first half carries sines, the second cosines.
    """

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        exponents = torch.arange(width // 2, dtype=torch.float64) / (width // 2)
        frequencies = torch.exp(-math.log(_LONGEST_WAVE) * exponents).float()
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """Add positions.

        Args:
            frames: [B, T, width].
        """
        # In float32: half precision cannot tell frame 2,049 from frame 2,048.
        index = torch.arange(frames.shape[1], dtype=torch.float32, device=frames.device)
        angles = index.unsqueeze(-1) * self.frequencies.float()
        waves = torch.cat((angles.sin(), angles.cos()), dim=-1)
        return frames + waves.to(frames.dtype)
