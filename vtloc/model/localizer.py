"""The whole localizer: features of a video and tokens of a sentence in, logits out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from vtloc.model.attention import Attention, TransformerLayer
from vtloc.model.fp32_ops import unit_root_mean_square
from vtloc.model.fusion import Fusion, pool_sentence, similarity_curves
from vtloc.model.head import LocalizationHead
from vtloc.model.multiscale import MultiScaleBlock
from vtloc.model.positions import SinusoidalPositions
from vtloc.model.routing import CapsuleRouting, Routing

if TYPE_CHECKING:
    from vtloc.model.config import LocalizerConfig


class LocalizerOutput(NamedTuple):
    """What the exported network gives.

    Attributes:
        start_logits: [B, T] float32, very low on padding frames.
        end_logits: [B, T] float32, likewise.
        alignment: How much each frame goes with each token: [B, N, T] float32. Over the tokens
            of a real frame it sums to one; it is zero on padding.
    """

    start_logits: Tensor
    end_logits: Tensor
    alignment: Tensor


@dataclass(frozen=True, slots=True)
class LocalizerStates:
    """The output, and the states inside that training's losses need.

    Attributes:
        output: What the exported network gives.
        frames: Projected frames before positions, [B, T, hidden].
        sentence: The projected sentence, [B, hidden].
        capsules: v_j, [B, capsules, N, capsule_dim], or None without routing.
    """

    output: LocalizerOutput
    frames: Tensor
    sentence: Tensor
    capsules: Tensor | None


class LocalizerNetwork(nn.Module):
    """The paper's network as `LocalizerConfig` describes it.

    No branch depends on data, so batch, frames and tokens stay dynamic in an exported graph, and
    ``network.half()`` runs in half precision with the float32 islands of `vtloc.model.fp32_ops`.

    Args:
        config: Widths and parts.
    """

    def __init__(self, config: LocalizerConfig) -> None:
        super().__init__()
        self.config = config
        width = config.hidden_dim
        # With `shared_only`, the columns that frames and tokens share: as wide as a token.
        read = config.token_dim if config.shared_only else config.feature_dim
        self.frame_projection = nn.Linear(read, width)
        self.token_projection = nn.Linear(config.token_dim, width)
        self.positions = SinusoidalPositions(width)
        self.transformer = nn.ModuleList(
            TransformerLayer(width, config.attention_heads, config.dropout)
            for _ in range(config.transformer_layers)
        )
        self.multiscale = self._multiscale_block() if config.multiscale else None
        self.routing = (
            CapsuleRouting(
                width,
                capsules=config.capsules,
                capsule_dim=config.capsule_dim,
                iterations=config.routing_iterations,
                agreement=config.agreement,
                coupling=config.coupling,
            )
            if config.routing
            else None
        )
        self.attention = Attention(width, config.attention_heads)
        self.fusion = Fusion(
            width,
            kind=config.fusion,
            similarity_channels=config.similarity_channels,
            standardize_similarity=config.standardize_similarity,
            dropout=config.dropout,
        )
        self.after_fusion = nn.ModuleList(
            self._multiscale_block() for _ in range(config.blocks_after_fusion)
        )
        self.head = LocalizationHead(width, config.dropout)
        self._initialize_projections()

    def forward(
        self, features: Tensor, frame_mask: Tensor, tokens: Tensor, token_mask: Tensor
    ) -> LocalizerOutput:
        """Localize.

        Args:
            features: [B, T, Dv], floating point.
            frame_mask: [B, T] bool, true for real frames.
            tokens: [B, N, Dt], floating point.
            token_mask: [B, N] bool, true for real tokens, which come first.
        """
        return self.states(features, frame_mask, tokens, token_mask).output

    def states(
        self, features: Tensor, frame_mask: Tensor, tokens: Tensor, token_mask: Tensor
    ) -> LocalizerStates:
        """Localize, and keep what the losses need; arguments as for `forward`."""
        config = self.config
        frames: Tensor = self.frame_projection(self._normalize_frames(features))  # (1)
        words = unit_root_mean_square(tokens) if config.normalize_inputs else tokens
        words = self.token_projection(words)  # (2)
        sentence = pool_sentence(words, token_mask, config.sentence_pooling)
        curves = similarity_curves(frames, words, token_mask, sentence)

        encoded = self.positions(frames)
        for layer in self.transformer:
            encoded = layer(encoded, frame_mask)
        if self.multiscale is not None:
            encoded = self.multiscale(encoded, frame_mask)
        text, alignment, routing = self._read_sentence(encoded, frame_mask, words, token_mask)
        fused = self.fusion(encoded, text, curves, frame_mask)
        for block in self.after_fusion:
            fused = block(fused, frame_mask)
        start_logits, end_logits = self.head(fused, frame_mask)
        return LocalizerStates(
            output=LocalizerOutput(start_logits, end_logits, alignment.float()),
            frames=frames,
            sentence=sentence,
            capsules=None if routing is None else routing.capsules,
        )

    def _read_sentence(
        self, frames: Tensor, frame_mask: Tensor, words: Tensor, token_mask: Tensor
    ) -> tuple[Tensor, Tensor, Routing | None]:
        """Context-aware cross-attention: what the sentence says to each frame, and where."""
        if self.routing is None:
            text, weights = self.attention(frames, words, token_mask)
            alignment = weights.mean(dim=1).transpose(1, 2)
            return text, alignment * frame_mask.unsqueeze(1).to(alignment.dtype), None
        routing: Routing = self.routing(frames, frame_mask, words, token_mask)
        memory = torch.cat((words, routing.memory), dim=1)
        memory_mask = torch.cat((token_mask, token_mask), dim=1)
        attended, _ = self.attention(frames, memory, memory_mask)
        return attended + routing.read_back, routing.alignment, routing

    def _normalize_frames(self, features: Tensor) -> Tensor:
        if self.config.shared_only and self.config.shared_space is not None:
            start, stop = self.config.shared_space
            features = features[..., start:stop]
            return unit_root_mean_square(features) if self.config.normalize_inputs else features
        if not self.config.normalize_inputs:
            return features
        if self.config.shared_space is None:
            return unit_root_mean_square(features)
        start, stop = self.config.shared_space
        # The shared columns by themselves: what lies beside them must not set their scale.
        parts = [features[..., start:stop]]
        if start > 0:
            parts.insert(0, features[..., :start])
        if stop < self.config.feature_dim:
            parts.append(features[..., stop:])
        if len(parts) == 1:
            return unit_root_mean_square(features)
        return torch.cat([unit_root_mean_square(part) for part in parts], dim=-1)

    def _multiscale_block(self) -> MultiScaleBlock:
        config = self.config
        return MultiScaleBlock(config.hidden_dim, config.scale_dim, config.kernel_sizes)

    def _initialize_projections(self) -> None:
        """Where frames and tokens share a space, their cosines survive the projections."""
        if self.config.shared_space is None:
            return
        start, stop = self.config.shared_space
        with torch.no_grad():
            nn.init.orthogonal_(self.token_projection.weight)
            nn.init.zeros_(self.token_projection.bias)
            nn.init.zeros_(self.frame_projection.weight)
            nn.init.zeros_(self.frame_projection.bias)
            if self.config.shared_only:
                start, stop = 0, stop - start
            self.frame_projection.weight[:, start:stop] = self.token_projection.weight
