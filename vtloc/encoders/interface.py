"""The interfaces of frozen frame and text encoders."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from vtloc_runtime.bundle.manifest import Preprocessing, SharedSpace


class VisualEncoder(nn.Module, ABC):
    """A frozen tower that turns frames into features.

    Attributes:
        name: The name that ``load_visual_encoder`` takes for it.
        dimension: Width Dv of a feature.
        preprocessing: How a decoded picture becomes a frame.
        shared_space: The columns in the space of the sentence vectors, or None.
    """

    name: str
    dimension: int
    preprocessing: Preprocessing
    shared_space: SharedSpace | None

    def freeze(self) -> None:
        """Freeze every parameter, in evaluation mode."""
        freeze(self)

    @abstractmethod
    def forward(self, frames: Tensor) -> Tensor:
        """Encode frames.

        Args:
            frames: RGB pictures, uint8 [B, S, S, 3].

        Returns:
            Features [B, Dv] in the tower's own floating type.
        """


class TextEncoder(nn.Module, ABC):
    """A frozen tower that turns token ids into token states and one sentence vector.

    Attributes:
        name: The name that ``load_text_encoder`` takes for it.
        token_dimension: Width Dt of a token state.
        sentence_dimension: Width Ds of the sentence vector.
        max_tokens: Longest sentence, special tokens included.
        vocabulary: How many token ids the tower knows.
        pad_id: The id that fills up a batch.
    """

    name: str
    token_dimension: int
    sentence_dimension: int
    max_tokens: int
    vocabulary: int
    pad_id: int

    def freeze(self) -> None:
        """Freeze every parameter, in evaluation mode."""
        freeze(self)

    @abstractmethod
    def tokenizer_json(self) -> str:
        """The tokenizer as a Hugging Face ``tokenizer.json``: it truncates and never pads."""

    @abstractmethod
    def forward(self, token_ids: Tensor, token_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Encode sentences.

        Args:
            token_ids: int64 [B, N], filled up with ``pad_id`` on the right.
            token_mask: bool [B, N], True at real tokens.

        Returns:
            Token states [B, N, Dt] and L2-normalised sentence vectors [B, Ds].
        """


def freeze(module: nn.Module) -> None:
    """Switch a module to evaluation and its parameters to constants."""
    module.eval()
    for parameter in module.parameters():
        parameter.requires_grad_(False)


def normalised(vectors: Tensor) -> Tensor:
    """Vectors [..., D] at unit length, the norm taken in float32; zero stays zero."""
    wide = vectors.float()
    length = (wide * wide).sum(dim=-1, keepdim=True).sqrt().clamp_min(1e-12)
    return (wide / length).to(vectors.dtype)


def masked_mean(tokens: Tensor, token_mask: Tensor) -> Tensor:
    """Mean [B, D] of the real token states [B, N, D], summed in float32."""
    weights = token_mask.unsqueeze(-1).to(torch.float32)
    total = (tokens.float() * weights).sum(dim=1)
    return (total / weights.sum(dim=1).clamp_min(1.0)).to(tokens.dtype)


def scaled_pixels(frames: Tensor, scale: Tensor, offset: Tensor, dtype: torch.dtype) -> Tensor:
    """Frames as the tower wants them: ``pixel * scale + offset``, channels first.

    The cast comes before the permutation because TensorRT transposes no uint8 tensor.

    Args:
        frames: uint8 [B, S, S, 3].
        scale: float32 [3].
        offset: float32 [3].
        dtype: The tower's floating type.

    Returns:
        Pixels [B, 3, S, S] of ``dtype``, computed in float32.
    """
    pixels = frames.to(torch.float32) * scale + offset
    return pixels.permute(0, 3, 1, 2).to(dtype)
