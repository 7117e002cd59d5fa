"""From an encoder's name to the encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vtloc.errors import EncoderError

if TYPE_CHECKING:
    from vtloc.encoders.interface import TextEncoder, VisualEncoder

_VISUAL_NAMES = "efficientnet-lite0, open_clip:MODEL[:TAG][:FILE]"
_TEXT_NAMES = "minilm, hf:DIRECTORY, open_clip:MODEL[:TAG][:FILE]"
_ALONE = ("efficientnet-lite0", "minilm")
_NEIGHBOURS = (("efficientnet-lite0", "minilm"),)
"""Encoders of different names whose vectors lie in one space."""


def load_visual_encoder(name: str) -> VisualEncoder:
    """Load a frame encoder, frozen and in evaluation mode.

    Args:
        name: ``efficientnet-lite0``, or ``open_clip:MODEL[:TAG][:FILE]``.

    Raises:
        EncoderError: The name is unknown or the weights cannot be loaded.
        MissingExtraError: A package that it needs is not installed.
    """
    family, _, rest = name.partition(":")
    if name == "efficientnet-lite0":
        from vtloc.encoders.efficientnet import load_efficientnet_lite0

        return load_efficientnet_lite0()
    if family == "open_clip" and rest:
        from vtloc.encoders.clip import load_clip_visual

        return load_clip_visual(rest)
    raise EncoderError("unknown frame encoder", where=name, remedy=f"Use one of: {_VISUAL_NAMES}")


def load_text_encoder(name: str) -> TextEncoder:
    """Load a text encoder, frozen and in evaluation mode.

    Args:
        name: ``minilm``, ``hf:DIRECTORY``, or ``open_clip:MODEL[:TAG][:FILE]``.

    Raises:
        EncoderError: The name is unknown or the weights cannot be loaded.
        MissingExtraError: A package that it needs is not installed.
    """
    family, _, rest = name.partition(":")
    if name == "minilm":
        from vtloc.encoders.minilm import load_minilm

        return load_minilm()
    if family == "hf" and rest:
        from vtloc.encoders.huggingface import load_huggingface

        return load_huggingface(rest)
    if family == "open_clip" and rest:
        from vtloc.encoders.clip import load_clip_text

        return load_clip_text(rest)
    raise EncoderError("unknown text encoder", where=name, remedy=f"Use one of: {_TEXT_NAMES}")


def load_encoders(visual: str, text: str) -> tuple[VisualEncoder, TextEncoder]:
    """Load a frame encoder and a text encoder; towers of one model share one loading.

    Args:
        visual: The frame encoder's name.
        text: The text encoder's name.

    Raises:
        EncoderError: A name is unknown or its weights cannot be loaded.
        MissingExtraError: A package that one needs is not installed.
    """
    family, _, rest = visual.partition(":")
    if visual == text and family == "open_clip" and rest:
        from vtloc.encoders.clip import load_clip

        return load_clip(rest)
    return load_visual_encoder(visual), load_text_encoder(text)


def share_a_space(visual: VisualEncoder, text: TextEncoder) -> bool:
    """Whether frames of one encoder and sentences of the other compare by cosine.

    Equal widths do not make a space: two models of one size have different ones.
    """
    return visual.shared_space is not None and names_share_a_space(visual.name, text.name)


def names_share_a_space(visual: str, text: str) -> bool:
    """The same by their names, before either is loaded."""
    return visual == text or (visual, text) in _NEIGHBOURS


def is_encoder_name(text: str) -> bool:
    """Whether a text is written as an encoder's name is, known or not."""
    return text.startswith(("open_clip:", "hf:")) or text in _ALONE


def random_weights(name: str) -> str | None:
    """A warning about an encoder whose name asks for weights that nobody trained; None for others.

    Args:
        name: The encoder's name.
    """
    if not name.startswith("open_clip:") or name.count(":") != 1:
        return None
    return (
        f"warning: {name} names no pretrained weights, so they are random; "
        f"write {name}:TAG, such as open_clip:ViT-B-32:openai"
    )
