"""Frame and text towers from open_clip."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from vtloc.encoders.clip_text import load_text_tower
from vtloc.encoders.exportable_attention import write_out_attention
from vtloc.encoders.interface import TextEncoder, VisualEncoder, normalised, scaled_pixels
from vtloc.encoders.merged_branches import merge_branches
from vtloc.encoders.open_clip_source import create_model, read_source
from vtloc.errors import EncoderError
from vtloc_runtime.bundle.manifest import Preprocessing, SharedSpace

_COLOURS = 3
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
        self.tower = merge_branches(tower)
        mean, deviation = (_channels(settings, key, name) for key in ("mean", "std"))
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


def load_clip_visual(source: str) -> ClipVisualEncoder:
    """An image tower.

    Args:
        source: What ``read_source`` takes: ``MODEL``, ``MODEL:TAG``, ``MODEL:FILE`` and others.

    Raises:
        EncoderError: The model is unknown or its weights cannot be loaded.
        MissingExtraError: open_clip is not installed.
    """
    read = read_source(source)
    return ClipVisualEncoder(create_model(read).visual, name=read.name)


def load_clip_text(source: str) -> TextEncoder:
    """A text tower.

    Args:
        source: What ``read_source`` takes: ``MODEL``, ``MODEL:TAG``, ``MODEL:FILE`` and others.

    Raises:
        EncoderError: The model is unknown, its weights or its tokenizer cannot be loaded, or its
            text tower is of a kind that is not supported.
        MissingExtraError: open_clip is not installed.
    """
    read = read_source(source)
    return load_text_tower(read, create_model(read))


def load_clip(source: str) -> tuple[ClipVisualEncoder, TextEncoder]:
    """Both towers of a model, whose weights are loaded once.

    Args:
        source: What ``read_source`` takes: ``MODEL``, ``MODEL:TAG``, ``MODEL:FILE`` and others.

    Raises:
        EncoderError: As for each of them.
        MissingExtraError: open_clip is not installed.
    """
    read = read_source(source)
    model = create_model(read)
    text = load_text_tower(read, model)
    return ClipVisualEncoder(model.visual, name=read.name), text


def _preprocessing(settings: dict[str, Any], name: str) -> Preprocessing:
    size = settings["size"]
    sides = set(size) if isinstance(size, list | tuple) else {size}
    if len(sides) != 1:
        raise EncoderError(
            f"its pictures are not square: {'x'.join(str(side) for side in size)}",
            where=name,
            remedy="Use a model with square pictures",
        )
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


def _channels(settings: dict[str, Any], key: str, name: str) -> Tensor:
    """The mean or the deviation of the three colours."""
    values = settings[key]
    numbers = isinstance(values, list | tuple) and all(
        isinstance(one, int | float) and math.isfinite(one) for one in values
    )
    if not numbers or len(values) != _COLOURS or (key == "std" and min(values) <= 0):
        raise EncoderError(
            f"its pictures cannot be scaled by the {key} {values!r:.60}",
            where=name,
            remedy=f"Give {key} three numbers in the model's preprocess_cfg",
        )
    return torch.tensor(values, dtype=torch.float32)
