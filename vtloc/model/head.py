"""The localization head, equation (13)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vtloc.model.fp32_ops import MASKED

_PRIOR = 0.05
"""Share of frames that begin a moment, about: where the head starts, so that training need not
first learn that most frames are not a boundary."""


class LocalizationHead(nn.Module):
    """Two layers to a start and an end logit for each frame.

    Args:
        width: Channels of the frames.
        dropout: Dropout between the layers.
    """

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(width, 2)
        nn.init.constant_(self.output.bias, -math.log((1 - _PRIOR) / _PRIOR))

    def forward(self, frames: Tensor, frame_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Judge each frame.

        Args:
            frames: h_t, [B, T, width].
            frame_mask: [B, T], true for real frames.

        Returns:
            Start and end logits, each [B, T] float32; `MASKED` on padding.
        """
        hidden = self.dropout(torch.relu(self.hidden(frames)))
        logits = torch.where(frame_mask.unsqueeze(-1), self.output(hidden).float(), MASKED)
        return logits[..., 0], logits[..., 1]
