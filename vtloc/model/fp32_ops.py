"""The FP32 islands: everything that half precision would overflow or round away.

Each function computes in float32 whatever its input's dtype and returns the input's dtype, so a
network in half precision needs no further care, and one in float32 has no casts at all.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

MASKED = -1e4
"""Minus infinity in logits: far below any real one, and still finite in FP16."""

EPSILON = 1e-6
"""Keeps squares of norms away from zero, where their roots have no gradient."""


class LayerNorm(nn.Module):
    """Layer normalisation over the last axis, in float32.

    Args:
        width: Length of the last axis.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, values: Tensor) -> Tensor:
        """Normalise; same shape and dtype."""
        normalized = functional.layer_norm(
            values.float(), self.weight.shape, self.weight.float(), self.bias.float()
        )
        return normalized.to(values.dtype)


def masked_softmax(logits: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the last axis, over the entries where ``mask`` is true.

    Args:
        logits: Any shape.
        mask: Boolean, broadcastable to ``logits``.
    """
    masked = torch.where(mask, logits.float(), MASKED)
    return torch.softmax(masked, dim=-1).to(logits.dtype)


def unit_vectors(values: Tensor) -> Tensor:
    """Vectors of length one along the last axis; a zero vector stays zero."""
    wide = values.float()
    squares = wide.square().sum(dim=-1, keepdim=True)
    # Clamped, not added to: an exporter takes so small a summand for zero and drops it.
    return (wide * torch.rsqrt(squares.clamp(min=EPSILON**2))).to(values.dtype)


def unit_root_mean_square(values: Tensor) -> Tensor:
    """Vectors of root mean square one along the last axis; a zero vector stays zero."""
    return unit_vectors(values) * math.sqrt(values.shape[-1])


def squash(vectors: Tensor) -> Tensor:
    """Equation (10): shrink to a length below one, keep the direction.

    ``|s|^2 / (1 + |s|^2) * s / |s|``, written so that it and its gradient are finite at zero.
    """
    wide = vectors.float()
    squares = wide.square().sum(dim=-1, keepdim=True)
    scale = torch.sqrt(squares + EPSILON**2) / (1 + squares)
    return (scale * wide).to(vectors.dtype)


def standardize(curve: Tensor, mask: Tensor) -> Tensor:
    """Centre and scale curves over the real frames of each video.

    Args:
        curve: [B, T, C].
        mask: [B, T], true for real frames.

    Returns:
        [B, T, C] with mean zero and variance one over real frames; zero on padding.
    """
    wide = curve.float()
    real = mask.unsqueeze(-1).float()
    count = real.sum(dim=1, keepdim=True).clamp(min=1)
    centred = (wide - (wide * real).sum(dim=1, keepdim=True) / count) * real
    variance = centred.square().sum(dim=1, keepdim=True) / count
    return (centred * torch.rsqrt(variance + EPSILON)).to(curve.dtype)
