"""Where frames meet the sentence: cosines, products, and the sentence read frame by frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vtloc.model.fp32_ops import MASKED, LayerNorm, standardize, unit_vectors

if TYPE_CHECKING:
    from vtloc.model.config import FusionKind


def pool_sentence(tokens: Tensor, token_mask: Tensor, pooling: str) -> Tensor:
    """One vector a sentence.

    Args:
        tokens: [B, N, width].
        token_mask: [B, N], true for real tokens, which come first.
        pooling: ``mean`` over the real tokens, or the ``last`` of them.

    Returns:
        [B, width].
    """
    weights = token_mask.to(tokens.dtype)
    if pooling == "last":
        following = nn.functional.pad(weights, (0, 1))[:, 1:]
        weights = weights - following
    else:
        weights = weights / weights.sum(dim=-1, keepdim=True).clamp(min=1)
    return torch.matmul(weights.unsqueeze(1), tokens).squeeze(1)


def similarity_curves(
    frames: Tensor, tokens: Tensor, token_mask: Tensor, sentence: Tensor
) -> Tensor:
    """Each frame's cosine to the sentence and to its best token.

    Args:
        frames: [B, T, width], before positions.
        tokens: [B, N, width].
        token_mask: [B, N].
        sentence: [B, width].

    Returns:
        [B, T, 2].
    """
    directions = unit_vectors(frames)
    to_sentence = torch.matmul(directions, unit_vectors(sentence).unsqueeze(-1))
    to_tokens = torch.matmul(directions, unit_vectors(tokens).transpose(-1, -2))
    best = torch.where(token_mask.unsqueeze(1), to_tokens, MASKED).amax(dim=-1, keepdim=True)
    return torch.cat((to_sentence, best), dim=-1)


class Fusion(nn.Module):
    """Merges frames with the text they attend to.

    Multiplicative: frame, text, their product and their cosine through one linear map, plus the
    similarity curves through another. Additive, as transformers do: their sum.

    Args:
        width: Channels of frames and text.
        kind: ``multiplicative`` or ``additive``.
        similarity_channels: Whether similarity curves take part.
        standardize_similarity: Whether they also come standardized over the video.
        dropout: Dropout on the fused frames.
    """

    def __init__(
        self,
        width: int,
        *,
        kind: FusionKind,
        similarity_channels: bool,
        standardize_similarity: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.standardize_similarity = standardize_similarity
        multiplicative = kind == "multiplicative"
        self.text_norm = LayerNorm(width) if multiplicative else None
        self.merge = nn.Linear(3 * width + 1, width) if multiplicative else None
        curves = 4 if standardize_similarity else 2
        # A map of its own, so that few curves weigh as much as many channels from the start.
        self.similarity = nn.Linear(curves, width) if similarity_channels else None
        self.norm = LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, frames: Tensor, text: Tensor, curves: Tensor, frame_mask: Tensor) -> Tensor:
        """Fuse.

        Args:
            frames: [B, T, width].
            text: What each frame attends to, [B, T, width].
            curves: Similarity curves, [B, T, 2].
            frame_mask: [B, T], true for real frames.

        Returns:
            [B, T, width].
        """
        if self.merge is None or self.text_norm is None:
            fused = frames + text
        else:
            text = self.text_norm(text)
            cosine = (unit_vectors(frames) * unit_vectors(text)).sum(dim=-1, keepdim=True)
            fused = self.merge(torch.cat((frames, text, frames * text, cosine), dim=-1))
        if self.similarity is not None:
            if self.standardize_similarity:
                curves = torch.cat((curves, standardize(curves, frame_mask)), dim=-1)
            fused = fused + self.similarity(curves)
        normalized: Tensor = self.dropout(self.norm(fused))
        return normalized
