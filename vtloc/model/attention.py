"""Attention, written out: every length stays dynamic in an exported graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vtloc.model.fp32_ops import LayerNorm, masked_softmax


class Attention(nn.Module):
    """Scaled dot-product attention with several heads.

    Args:
        width: Channels of queries, memory and output.
        heads: How many heads share them.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def forward(
        self, queries: Tensor, memory: Tensor, memory_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Attend.

        Args:
            queries: [B, T, width].
            memory: [B, M, width].
            memory_mask: [B, M], true where the memory is real.

        Returns:
            What was attended to, [B, T, width], and the weights, [B, heads, T, M].
        """
        width = queries.shape[-1] // self.heads
        # Scaled before the product, which half precision then holds.
        query = self._split(self.query(queries)) * width**-0.5
        logits = torch.matmul(query, self._split(self.key(memory)).transpose(-1, -2))
        weights = masked_softmax(logits, memory_mask[:, None, None, :])
        attended = torch.matmul(weights, self._split(self.value(memory)))
        merged: Tensor = self.output(attended.transpose(1, 2).flatten(2))
        return merged, weights

    def _split(self, values: Tensor) -> Tensor:
        return torch.unflatten(values, -1, (self.heads, -1)).transpose(1, 2)


class TransformerLayer(nn.Module):
    """Self-attention and a feed-forward net over frames: the paper's transformer baselines.

    Args:
        width: Channels of the frames.
        heads: Attention heads.
        dropout: Dropout on both residual branches.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.attention_norm = LayerNorm(width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width)
        )
        self.feed_forward_norm = LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, frames: Tensor, frame_mask: Tensor) -> Tensor:
        """Let frames see each other: [B, T, width] in and out."""
        attended, _ = self.attention(frames, frames, frame_mask)
        frames = self.attention_norm(frames + self.dropout(attended))
        ahead = self.dropout(self.feed_forward(frames))
        normalized: Tensor = self.feed_forward_norm(frames + ahead)
        return normalized
