"""The multi-scale temporal encoder, equations (3) to (6)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vtloc.model.fp32_ops import LayerNorm


class MultiScaleBlock(nn.Module):
    """Parallel convolutions of several lengths over time, fused, normalised, added to the input.

    Args:
        width: Channels in and out.
        scale_dim: Channels of each convolution.
        kernel_sizes: Their odd lengths, frames.
    """

    def __init__(self, width: int, scale_dim: int, kernel_sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Conv1d(width, scale_dim, size, padding=size // 2) for size in kernel_sizes
        )
        # A convolution of length one is a linear map of each frame.
        self.fuse = nn.Linear(scale_dim * len(kernel_sizes), width)
        self.norm = LayerNorm(width)

    def forward(self, frames: Tensor, frame_mask: Tensor) -> Tensor:
        """Encode.

        Args:
            frames: V' [B, T, width].
            frame_mask: [B, T], true for real frames; others are zeroed, as past the video's ends.

        Returns:
            F_multi [B, T, width].
        """
        channels = (frames * frame_mask.unsqueeze(-1).to(frames.dtype)).transpose(1, 2)
        scales = [torch.relu(branch(channels)) for branch in self.branches]  # (3)
        fused = self.fuse(torch.cat(scales, dim=1).transpose(1, 2))  # (4), (5)
        normalized: Tensor = self.norm(fused)
        return normalized + frames  # (6)
