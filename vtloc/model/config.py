"""The localizer's configuration: every width, and every switch that an ablation turns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from vtloc.config_files import configure
from vtloc.errors import ConfigurationError

Agreement = Literal["sentence", "printed", "votes"]
"""How routing logits grow; see `vtloc.model.routing`."""

Coupling = Literal["tokens", "frames", "independent"]
"""What routing's couplings share out; see `vtloc.model.routing`."""

FusionKind = Literal["multiplicative", "additive"]
SentencePooling = Literal["mean", "last"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalizerConfig:
    """Widths and parts of a `LocalizerNetwork`; the defaults are the paper's where it gives any.

    Attributes:
        feature_dim: Width Dv of the frame features.
        token_dim: Width Dt of the token features.
        hidden_dim: Width that both are projected to (1, 2).
        kernel_sizes: Odd lengths k of the parallel convolutions (3).
        scale_dim: Channels of each of them.
        multiscale: Whether the multi-scale encoder (3 to 6) comes before the fusion.
        transformer_layers: Self-attention layers over frames, for the transformer baselines.
        routing: Whether the capsules (7 to 11) take part.
        capsules: How many capsules route at once.
        capsule_dim: Width of each.
        routing_iterations: R.
        agreement: ``sentence`` routes by the sentence; ``printed`` is (11) to the letter, whose
            coupling is the same for every frame; ``votes`` is the classic agreement ``u . v``.
        coupling: ``tokens`` shares each frame out among the tokens (8); ``frames`` shares each
            token out among the frames; ``independent`` lets any frame go with any token.
        attention_heads: Heads of the cross-attention.
        fusion: ``multiplicative`` gives the head frame, text, product and cosine; ``additive``
            adds the text to the frame.
        similarity_channels: Whether each frame's cosine to the sentence and to its best token,
            in the projected space before positions, takes part in the fusion.
        standardize_similarity: Whether those cosines also come centred and scaled over the video.
        blocks_after_fusion: Multi-scale blocks between fusion and head.
        shared_space: First and one past the last feature column that lies in the tokens' space,
            or None. Both projections then start from the same matrix.
        shared_only: Whether the network reads the columns of the shared space alone.
        sentence_pooling: Which token stands for the sentence: the mean of all (BERT-like
            encoders) or the last (CLIP's end of text).
        normalize_inputs: Whether frames and tokens are scaled to unit root mean square first, so
            that encoders of any scale train alike.
        dropout: Dropout of the head and of the fusion.
    """

    feature_dim: int
    token_dim: int
    hidden_dim: int = 384
    kernel_sizes: tuple[int, ...] = (1, 3, 5)
    scale_dim: int = 96
    multiscale: bool = True
    transformer_layers: int = 0
    routing: bool = True
    capsules: int = 8
    capsule_dim: int = 96
    routing_iterations: int = 3
    agreement: Agreement = "sentence"
    coupling: Coupling = "tokens"
    attention_heads: int = 4
    fusion: FusionKind = "multiplicative"
    similarity_channels: bool = True
    standardize_similarity: bool = True
    blocks_after_fusion: int = 1
    shared_space: tuple[int, int] | None = None
    shared_only: bool = False
    sentence_pooling: SentencePooling = "mean"
    normalize_inputs: bool = True
    dropout: float = 0.15

    def __post_init__(self) -> None:
        # A file may claim anything, so what is built by these numbers has bounds.
        for name, (low, high) in _BOUNDS.items():
            if not low <= getattr(self, name) <= high:
                raise ConfigurationError(f"{name} must be {low} to {high}", where="localizer")
        if not self.kernel_sizes or any(size < 1 or size % 2 == 0 for size in self.kernel_sizes):
            raise ConfigurationError(
                f"kernel_sizes must be odd, not {self.kernel_sizes}", where="localizer"
            )
        if self.hidden_dim % (2 * self.attention_heads):
            raise ConfigurationError(
                f"hidden_dim {self.hidden_dim} must be a multiple of twice attention_heads "
                f"({self.attention_heads})",
                where="localizer",
            )
        if not 0 <= self.dropout < 1:
            raise ConfigurationError("dropout must lie in [0, 1)", where="localizer")
        if self.shared_only and self.shared_space is None:
            raise ConfigurationError("shared_only needs a shared_space", where="localizer")
        if self.shared_space is not None:
            self._check_shared_space(*self.shared_space)

    def _check_shared_space(self, start: int, stop: int) -> None:
        if not 0 <= start < stop <= self.feature_dim:
            raise ConfigurationError(
                f"shared_space {start}..{stop} does not lie within {self.feature_dim} features",
                where="localizer",
            )
        if stop - start != self.token_dim:
            raise ConfigurationError(
                f"shared_space is {stop - start} wide, tokens are {self.token_dim}",
                where="localizer",
            )

    def to_json(self) -> dict[str, Any]:
        """The configuration as plain JSON values, as manifests and checkpoints keep it."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> LocalizerConfig:
        """Build a configuration from plain values.

        Raises:
            ConfigurationError: A field is unknown, missing, or of the wrong type or range.
        """
        return configure(cls, values, where="localizer")


_WIDTH, _DEPTH = (1, 65_536), (0, 64)
_BOUNDS = {
    "feature_dim": _WIDTH,
    "token_dim": _WIDTH,
    "hidden_dim": _WIDTH,
    "scale_dim": _WIDTH,
    "capsules": _WIDTH,
    "capsule_dim": _WIDTH,
    "attention_heads": _WIDTH,
    "routing_iterations": (1, 64),
    "transformer_layers": _DEPTH,
    "blocks_after_fusion": _DEPTH,
}
