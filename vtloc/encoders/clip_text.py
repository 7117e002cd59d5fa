"""Text towers from open_clip: its own transformers, and those of Hugging Face that it wraps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from vtloc.encoders.clip_tokenizer import clip_tokenizer
from vtloc.encoders.exportable_attention import write_out_attention
from vtloc.encoders.hub_tokenizer import hub_tokenizer
from vtloc.encoders.huggingface import HuggingFaceEncoder
from vtloc.encoders.interface import TextEncoder, masked_mean, normalised
from vtloc.encoders.open_clip_source import OpenClipSource, create_tokenizer, import_open_clip
from vtloc.errors import EncoderError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_MASKED = -30000.0
"""Added to the score of a key that must not be seen; finite, also in half precision."""

_WRAPPED = frozenset({"bert", "roberta", "xlm-roberta"})
"""Kinds of Hugging Face models whose masks and positions are known."""

_USE_ANOTHER = "Use it for frames, with hf:DIRECTORY or minilm as the text encoder"


class ClipTextEncoder(TextEncoder):
    """open_clip's text tower: every token state projected into the space of the frames.

    A causal tower never looks at the padding, so it runs on as many tokens as there are. A tower
    that sees the whole context was trained with the padding in view: there the sentence is filled
    up to the context's length inside the network.

    Args:
        tower: open_clip's text transformer.
        tokenizer: Its tokenizer.
        name: The encoder's name.
        pad_id: What fills up the context.
        pooling: Which state is the sentence: that of its ``end`` token, or the ``last`` one of the
            context, padding or not, as in SigLIP.
    """

    def __init__(
        self,
        tower: nn.Module,
        tokenizer: Tokenizer,
        *,
        name: str,
        pad_id: int = 0,
        pooling: Literal["end", "last"] = "end",
    ) -> None:
        super().__init__()
        described: Any = tower
        self.name = name
        self.max_tokens = int(described.context_length)
        self.vocabulary = int(described.vocab_size)
        self.pad_id = pad_id
        self.causal = described.attn_mask is not None
        self.pooling = pooling
        write_out_attention(tower)
        self.tower = tower
        self._tokenizer_json = str(tokenizer.to_str())
        self.freeze()
        with torch.inference_mode():
            probe = torch.ones(1, 2, dtype=torch.int64)
            self.token_dimension = int(self(probe, probe.bool())[0].shape[-1])
        self.sentence_dimension = self.token_dimension

    def tokenizer_json(self) -> str:
        """The tokenizer, truncating at the context's length and never padding."""
        return self._tokenizer_json

    def forward(self, token_ids: Tensor, token_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Encode sentences, int64 [B, N] and bool [B, N]; see ``TextEncoder.forward``."""
        length = token_ids.shape[1]
        states = self._states(token_ids, token_mask)
        tokens = self._project(states[:, :length])
        if self.pooling == "last":
            return tokens, normalised(self._project(states[:, -1]))
        # The end token is the last real one; picked by a mask, which every backend can do.
        index = torch.arange(length, device=token_mask.device)
        last = token_mask.sum(dim=1, keepdim=True) - 1
        chosen = (index == last).unsqueeze(-1)
        sentence = torch.where(chosen, tokens, torch.zeros_like(tokens)).sum(dim=1)
        return tokens, normalised(sentence)

    def _states(self, token_ids: Tensor, token_mask: Tensor) -> Tensor:
        tower: Any = self.tower
        length = token_ids.shape[1]
        ids = torch.where(token_mask, token_ids, self.pad_id)
        mask: Tensor | None = None
        if self.causal:
            index = torch.arange(length, device=ids.device)
            allowed = index[:, None] >= index[None, :]
            mask = torch.where(allowed, 0.0, _MASKED)
            positions = tower.positional_embedding[:length]
        else:
            missing = self.max_tokens - length
            ids = torch.cat([ids, ids.new_full((ids.shape[0], missing), self.pad_id)], dim=1)
            positions = tower.positional_embedding
        states = tower.transformer(tower.token_embedding(ids) + positions, attn_mask=mask)
        normed: Tensor = tower.ln_final(states)
        return normed

    def _project(self, states: Tensor) -> Tensor:
        tower: Any = self.tower
        projection = tower.text_projection
        if projection is None:
            return states
        projected: Tensor = (
            projection(states) if isinstance(projection, nn.Module) else states @ projection
        )
        return projected


class WrappedTextEncoder(TextEncoder):
    """A Hugging Face transformer inside open_clip, with its pooling and projection.

    Args:
        encoder: The transformer, with its tokenizer.
        projection: From its states into the space of the frames.
        pooling: Whether the sentence is the ``mean`` of its tokens or the ``first`` of them.
    """

    def __init__(
        self,
        encoder: HuggingFaceEncoder,
        projection: nn.Module,
        *,
        pooling: Literal["mean", "first"],
    ) -> None:
        super().__init__()
        self.name = encoder.name
        self.max_tokens = encoder.max_tokens
        self.vocabulary = encoder.vocabulary
        self.pad_id = encoder.pad_id
        self.encoder = encoder
        self.projection = projection
        self.pooling = pooling
        self.freeze()
        with torch.inference_mode():
            probe = torch.ones(1, 2, dtype=torch.int64)
            self.token_dimension = int(self(probe, probe.bool())[0].shape[-1])
        self.sentence_dimension = self.token_dimension

    def tokenizer_json(self) -> str:
        """The tokenizer, truncating at the context's length and never padding."""
        return self.encoder.tokenizer_json()

    def forward(self, token_ids: Tensor, token_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Encode sentences, int64 [B, N] and bool [B, N]; see ``TextEncoder.forward``."""
        states, _ = self.encoder(token_ids, token_mask)
        pooled = masked_mean(states, token_mask) if self.pooling == "mean" else states[:, 0]
        return self.projection(states), normalised(self.projection(pooled))


def load_text_tower(source: OpenClipSource, model: Any) -> TextEncoder:
    """The text tower of a model of open_clip, with its tokenizer.

    Args:
        source: The model's name.
        model: The model itself.

    Raises:
        EncoderError: Its tokenizer cannot be loaded, or the tower is of a kind that is not
            supported.
    """
    tower: Any = getattr(model, "text", None)
    if type(tower).__name__ == "HFTextEncoder":
        return _wrapped_tower(source, tower)
    pooling = {"argmax": "end", "eos": "end", "last": "last"}.get(getattr(tower, "pool_type", ""))
    padded = pooling == "last" and tower.attn_mask is not None
    if pooling is None or tower.cls_emb is not None or tower.use_pad_mask or padded:
        raise EncoderError(
            "its text tower pools or masks in a way that is not supported",
            where=source.name,
            remedy=_USE_ANOTHER,
        )
    tokenizer, pad_id = _tokenizer(source, int(tower.context_length))
    _check_vocabulary(source, tokenizer, int(tower.vocab_size))
    return ClipTextEncoder(
        tower,
        tokenizer,
        name=source.name,
        pad_id=pad_id,
        pooling="last" if pooling == "last" else "end",
    )


def _wrapped_tower(source: OpenClipSource, tower: Any) -> TextEncoder:
    pooling = type(tower.pooler).__name__
    known = pooling in {"MeanPooler", "ClsLastHiddenStatePooler"}
    if not known or tower.config.model_type not in _WRAPPED:
        raise EncoderError(
            f"its text tower is a {tower.config.model_type} with {pooling}, which is not supported",
            where=source.name,
            remedy=_USE_ANOTHER,
        )
    wrapped = create_tokenizer(source)
    tokenizer, pad_id = hub_tokenizer(
        wrapped, context_length=int(wrapped.context_length), name=source.name
    )
    _check_vocabulary(source, tokenizer, int(tower.vocab_size))
    encoder = HuggingFaceEncoder(
        tower.transformer,
        tokenizer,
        name=source.name,
        max_tokens=int(wrapped.context_length),
        pad_id=pad_id,
    )
    return WrappedTextEncoder(
        encoder, tower.proj, pooling="mean" if pooling == "MeanPooler" else "first"
    )


def _tokenizer(source: OpenClipSource, context_length: int) -> tuple[Tokenizer, int]:
    open_clip = import_open_clip()
    given = create_tokenizer(source)
    if isinstance(given, open_clip.tokenizer.HFTokenizer):
        return hub_tokenizer(given, context_length=context_length, name=source.name)
    lower = getattr(getattr(given, "clean_fn", None), "__name__", "") == "_clean_lower"
    if not lower or getattr(given, "reduction_fn", None) is not None:
        raise EncoderError(
            "its text is tokenized in a way that is not supported",
            where=source.name,
            remedy=_USE_ANOTHER,
        )
    vocabulary = Path(open_clip.tokenizer.default_bpe())
    return clip_tokenizer(vocabulary, context_length=context_length), 0


def _check_vocabulary(source: OpenClipSource, tokenizer: Tokenizer, rows: int) -> None:
    size = tokenizer.get_vocab_size(with_added_tokens=False)
    if size > rows:
        raise EncoderError(
            f"its tokenizer gives {size} ids and its text tower knows {rows}",
            where=source.name,
            remedy="Put the tokenizer of this very model beside its weights",
        )
