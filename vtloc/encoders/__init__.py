"""Frozen frame and text towers behind one interface.

An encoder is named by a string, which is what checkpoints and bundles remember of it:

===============================  =============================================================
``efficientnet-lite0``           frames; the default bundle's tower, offline
``minilm``                       text; the default bundle's tower, offline
``open_clip:MODEL:TAG``          frames or text; a pretrained tag of open_clip
``open_clip:MODEL:TAG:FILE``     frames or text; the weights of that tag, from a file
``open_clip:MODEL:FILE``         frames or text; a local checkpoint
``open_clip:local-dir:FOLDER``   frames or text; a folder as on the Hugging Face hub
``open_clip:hf-hub:NAME``        frames or text; a repository on the hub
``open_clip:MODEL``              frames or text; random weights, for measuring speed and shapes
``hf:DIRECTORY``, ``hf:NAME``    text; a Hugging Face encoder, from a directory or by name
===============================  =============================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vtloc_runtime.lazy_names import lazy_names

if TYPE_CHECKING:
    from vtloc.encoders.interface import TextEncoder, VisualEncoder
    from vtloc.encoders.registry import (
        is_encoder_name,
        load_encoders,
        load_text_encoder,
        load_visual_encoder,
        names_share_a_space,
        random_weights,
        share_a_space,
    )

__all__ = [
    "TextEncoder",
    "VisualEncoder",
    "is_encoder_name",
    "load_encoders",
    "load_text_encoder",
    "load_visual_encoder",
    "names_share_a_space",
    "random_weights",
    "share_a_space",
]

# Lazy, so that the list of encoders can be read without PyTorch.
if not TYPE_CHECKING:
    _INTERFACE, _REGISTRY = "vtloc.encoders.interface", "vtloc.encoders.registry"
    __getattr__ = lazy_names(
        __name__, {name: _INTERFACE if "Encoder" in name else _REGISTRY for name in __all__}
    )
