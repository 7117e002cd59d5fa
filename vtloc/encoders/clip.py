"""Frame and text towers from open_clip."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vtloc.encoders.clip_tokenizer import clip_tokenizer
from vtloc.encoders.exportable_attention import write_out_attention
from vtloc.encoders.interface import TextEncoder, VisualEncoder, normalised, scaled_pixels
from vtloc.errors import EncoderError
from vtloc_runtime.bundle.manifest import Preprocessing, SharedSpace
from vtloc_runtime.errors import MissingExtraError

_MASKED = -30000.0
"""Added to the score of a key that must not be seen; finite, also in half precision."""

_RESIZE = {"shortest": "shorter-side", "squash": "squash"}


class ClipVisualEncoder(VisualEncoder):
    """open_clip's image tower: the projected feature at unit length.

    Args:
        tower: The image tower.
        name: The encoder's name.
    """

    scale: Tensor
    offset: Tensor

    def __init__(self, tower: nn.Module, *, name: str) -> None:
        super().__init__()
        described: Any = tower
        settings = dict(described.preprocess_cfg)
        self.name = name
        self.preprocessing = _preprocessing(settings, name)
        write_out_attention(tower)
        self.tower = tower
        mean, deviation = torch.tensor(settings["mean"]), torch.tensor(settings["std"])
        self.register_buffer("scale", 1 / (255 * deviation), persistent=False)
        self.register_buffer("offset", -mean / deviation, persistent=False)
        self.freeze()
        size = self.preprocessing.size
        with torch.inference_mode():
            self.dimension = int(self(torch.zeros(1, size, size, 3, dtype=torch.uint8)).shape[-1])
        self.shared_space = SharedSpace(start=0, stop=self.dimension)

    def forward(self, frames: Tensor) -> Tensor:
        """Encode frames uint8 [B, S, S, 3] as unit features [B, Dv]."""
        dtype = next(self.tower.parameters()).dtype
        features = self.tower(scaled_pixels(frames, self.scale, self.offset, dtype))
        return normalised(features[0] if isinstance(features, tuple) else features)


class ClipTextEncoder(TextEncoder):
    """open_clip's text tower: every token state projected into the space of the frames.

    A causal tower never looks at the padding, so it runs on as many tokens as there are. A tower
    that sees the whole context was trained with the padding in view: there the sentence is filled
    up to the context's length inside the network.

    Args:
        tower: open_clip's text transformer.
        tokenizer_json: Its tokenizer.
        name: The encoder's name.
    """

    def __init__(self, tower: nn.Module, *, tokenizer_json: str, name: str) -> None:
        super().__init__()
        described: Any = tower
        self.name = name
        self.max_tokens = int(described.context_length)
        self.pad_id = 0
        self.causal = described.attn_mask is not None
        write_out_attention(tower)
        self.tower = tower
        self._tokenizer_json = tokenizer_json
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
        tokens = self._project(self._states(token_ids, token_mask))
        # The end token is the last real one; picked by a mask, which every backend can do.
        index = torch.arange(token_mask.shape[1], device=token_mask.device)
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
        return normed[:, :length]

    def _project(self, states: Tensor) -> Tensor:
        tower: Any = self.tower
        projection = tower.text_projection
        if projection is None:
            return states
        projected: Tensor = (
            projection(states) if isinstance(projection, nn.Module) else states @ projection
        )
        return projected


def load_clip_visual(source: str) -> ClipVisualEncoder:
    """An image tower.

    Args:
        source: ``MODEL``, ``MODEL:TAG`` or ``MODEL:PATH``, as open_clip names models.

    Raises:
        EncoderError: The model is unknown or its weights cannot be loaded.
        MissingExtraError: open_clip is not installed.
    """
    name = f"open_clip:{source}"
    return ClipVisualEncoder(_create(source).visual, name=name)


def load_clip_text(source: str) -> ClipTextEncoder:
    """A text tower.

    Args:
        source: ``MODEL``, ``MODEL:TAG`` or ``MODEL:PATH``, as open_clip names models.

    Raises:
        EncoderError: The model is unknown, its weights cannot be loaded, or its text tower is
            not one that CLIP's tokenizer feeds.
        MissingExtraError: open_clip is not installed.
    """
    name = f"open_clip:{source}"
    model = _create(source)
    tower: Any = getattr(model, "text", None)
    pooling = getattr(tower, "pool_type", None)
    if pooling not in {"argmax", "eos"} or getattr(tower, "cls_emb", None) is not None:
        raise EncoderError(
            "its text tower does not end a sentence with a token of its own",
            where=name,
            remedy="Use it for frames, with hf:DIRECTORY or minilm as the text encoder",
        )
    tokenizer = clip_tokenizer(_vocabulary(source, name), context_length=int(tower.context_length))
    return ClipTextEncoder(tower, tokenizer_json=tokenizer.to_str(), name=name)


def _create(source: str) -> Any:
    open_clip = _open_clip()
    model, weights = _split(source)
    where = f"open_clip:{source}"
    if model not in open_clip.list_models() and not model.startswith("local-dir:"):
        raise EncoderError(
            f"open_clip knows no model {model!r}",
            where=where,
            remedy="List them with: python -c 'import open_clip; print(open_clip.list_models())'",
        )
    try:
        # Random weights are the same every time, so that an export can be checked against them.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return open_clip.create_model(
                model,
                pretrained=weights,
                pretrained_text=False,
                force_custom_text=True,
                require_pretrained=weights is not None,
            )
    except Exception as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise EncoderError(
            f"cannot load it: {reason}",
            where=where,
            remedy="Without a network, give a local checkpoint: open_clip:MODEL:/path/to/weights",
        ) from error


def _split(source: str) -> tuple[str, str | None]:
    if source.startswith("local-dir:"):
        return source, None
    model, _, weights = source.partition(":")
    return model, weights or None


def _vocabulary(source: str, name: str) -> Path:
    open_clip = _open_clip()
    model, _ = _split(source)
    try:
        tokenizer = open_clip.get_tokenizer(model)
    except Exception as error:
        raise EncoderError(f"cannot load its tokenizer: {error}", where=name) from error
    lower = getattr(getattr(tokenizer, "clean_fn", None), "__name__", "") == "_clean_lower"
    if not lower or getattr(tokenizer, "reduction_fn", None) is not None:
        raise EncoderError(
            "its text tower reads another tokenizer than CLIP's",
            where=name,
            remedy="Use it for frames, with hf:DIRECTORY or minilm as the text encoder",
        )
    return Path(open_clip.tokenizer.default_bpe())


def _preprocessing(settings: dict[str, Any], name: str) -> Preprocessing:
    size = settings["size"]
    sides = {size} if isinstance(size, int) else set(size)
    if len(sides) != 1:
        raise EncoderError(f"its pictures are not square: {size}", where=name)
    resize = _RESIZE.get(settings["resize_mode"])
    if resize is None or settings["interpolation"] not in {"bicubic", "bilinear"}:
        raise EncoderError(
            f"its pictures are resized by {settings['resize_mode']}, {settings['interpolation']}",
            where=name,
            remedy="Use a model that resizes the shorter side or squashes",
        )
    return Preprocessing(
        size=int(sides.pop()),
        resize="squash" if resize == "squash" else "shorter-side",
        interpolation="bicubic" if settings["interpolation"] == "bicubic" else "bilinear",
    )


def _open_clip() -> Any:
    try:
        import open_clip
    except ImportError as error:
        raise MissingExtraError.of(
            "open_clip", extra="export", purpose="an open_clip encoder"
        ) from error
    return open_clip
