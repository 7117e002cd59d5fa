"""Public encoders that were tried here, with what is published about them.

Sizes and arithmetic are those of the towers themselves. Accuracy is zero-shot classification of
ImageNet-1k as published; a cell without a source stays empty.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

_OPEN_CLIP = "open_clip docs/openclip_classification_results.csv"
_PE = "facebookresearch/perception_models README"
_SIGLIP2 = "google-research/big_vision SigLIP 2 README"
_VITAMIN = "Beckschen/ViTamin README"
_MOBILECLIP = "apple/ml-mobileclip README"

_CLIP_WORDS, _GEMMA, _T5, _XLM_R, _XLM_V = "CLIP's", "Gemma's", "T5's", "XLM-R's", "XLM-V's"
_APPLE = "Apple research (no commercial use)"


@dataclass(frozen=True, slots=True)
class TriedEncoder:
    """A public encoder whose frame and text towers share a space.

    Attributes:
        name: What ``load_encoders`` takes.
        frame_parameters: Parameters of the frame tower, millions.
        text_parameters: Parameters of the text tower, millions.
        gigaflops: Arithmetic of one frame, 10^9 floating-point operations.
        size: Side of a frame, pixels.
        width: Columns of a feature.
        context: Longest sentence, tokens.
        tokenizer: Whose vocabulary its sentences are cut by.
        license: Licence of the weights.
        accuracy: Zero-shot accuracy on ImageNet-1k, percent; None where none was found.
        source: Where the accuracy is published.
        languages: What its sentences may be written in.
        advice: What it is recommended for.
    """

    name: str
    frame_parameters: float
    text_parameters: float
    gigaflops: float
    size: int
    width: int
    context: int
    tokenizer: str
    license: str
    accuracy: float | None = None
    source: str = ""
    languages: str = "English"
    advice: str = ""


TRIED: tuple[TriedEncoder, ...] = (
    TriedEncoder(
        "open_clip:ViT-B-32:openai",
        87.8,
        63.4,
        8.8,
        224,
        512,
        77,
        _CLIP_WORDS,
        "MIT",
        63.3,
        _OPEN_CLIP,
    ),
    TriedEncoder(
        "open_clip:ViT-B-32:datacomp_xl_s13b_b90k",
        87.8,
        63.4,
        8.8,
        224,
        512,
        77,
        _CLIP_WORDS,
        "MIT",
        69.2,
        _OPEN_CLIP,
    ),
    TriedEncoder(
        "open_clip:ViT-B-32-256:datacomp_s34b_b86k",
        87.9,
        63.4,
        11.5,
        256,
        512,
        77,
        _CLIP_WORDS,
        "MIT",
        72.8,
        _OPEN_CLIP,
        advice="CPUs",
    ),
    TriedEncoder(
        "open_clip:ViT-B-16:openai",
        86.2,
        63.4,
        35.1,
        224,
        512,
        77,
        _CLIP_WORDS,
        "MIT",
        68.3,
        _OPEN_CLIP,
    ),
    TriedEncoder(
        "open_clip:ViT-B-16:datacomp_xl_s13b_b90k",
        86.2,
        63.4,
        35.1,
        224,
        512,
        77,
        _CLIP_WORDS,
        "MIT",
        73.5,
        _OPEN_CLIP,
    ),
    TriedEncoder(
        "open_clip:ViT-B-16:dfn2b",
        86.2,
        63.4,
        35.1,
        224,
        512,
        77,
        _CLIP_WORDS,
        _APPLE,
        76.2,
        _OPEN_CLIP,
    ),
    TriedEncoder(
        "open_clip:ViT-L-14:openai",
        304.0,
        123.7,
        162.0,
        224,
        768,
        77,
        _CLIP_WORDS,
        "MIT",
        75.5,
        _OPEN_CLIP,
    ),
    TriedEncoder(
        "open_clip:ViT-L-14:datacomp_xl_s13b_b90k",
        304.0,
        123.7,
        162.0,
        224,
        768,
        77,
        _CLIP_WORDS,
        "MIT",
        79.2,
        _OPEN_CLIP,
    ),
    TriedEncoder(
        "open_clip:ViT-L-14:dfn2b",
        304.0,
        123.7,
        162.0,
        224,
        768,
        77,
        _CLIP_WORDS,
        _APPLE,
        81.4,
        _OPEN_CLIP,
    ),
    TriedEncoder(
        "open_clip:EVA02-B-16:merged2b_s8b_b131k",
        86.3,
        63.4,
        35.1,
        224,
        512,
        77,
        _CLIP_WORDS,
        "MIT",
        74.7,
        _OPEN_CLIP,
    ),
    TriedEncoder(
        "open_clip:EVA02-L-14:merged2b_s4b_b131k",
        304.1,
        123.7,
        162.0,
        224,
        768,
        77,
        _CLIP_WORDS,
        "MIT",
        79.8,
        _OPEN_CLIP,
    ),
    TriedEncoder(
        "open_clip:ViTamin-S:datacomp1b",
        22.0,
        40.4,
        11.8,
        224,
        384,
        77,
        _CLIP_WORDS,
        "MIT",
    ),
    TriedEncoder(
        "open_clip:ViTamin-L:datacomp1b",
        333.3,
        123.7,
        149.9,
        224,
        768,
        77,
        _CLIP_WORDS,
        "MIT",
        80.8,
        _VITAMIN,
    ),
    # REST
)


def tried_encoder(name: str) -> TriedEncoder | None:
    """The entry of an encoder; None for one that was not tried.

    Args:
        name: The encoder's name; the file that its weights are read from does not matter.
    """
    return next((one for one in TRIED if name == one.name or name.startswith(f"{one.name}:")), None)


def nearest_names(text: str) -> tuple[str, ...]:
    """The names of tried encoders that a text may have meant, nearest first."""
    lowered = {one.name.lower(): one.name for one in TRIED}
    lowered |= {one.name.partition(":")[2].lower(): one.name for one in TRIED}
    lowered |= {one.name.split(":")[1].lower(): one.name for one in TRIED}
    near = difflib.get_close_matches(text.lower(), lowered, n=3, cutoff=0.7)
    return tuple(dict.fromkeys(lowered[one] for one in near))
