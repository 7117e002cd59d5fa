"""Public encoders of the kinds that are tested, with what is published about them.

Sizes and arithmetic are those of the towers themselves, with the branches of training. Accuracy is
zero-shot classification of ImageNet-1k as published; a cell without a source stays empty.
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
_APPLE = "Apple's own terms"
_MANY = "many"


@dataclass(frozen=True, slots=True)
class PublicEncoder:
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


PUBLIC_ENCODERS: tuple[PublicEncoder, ...] = (
    PublicEncoder(
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
    PublicEncoder(
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
    PublicEncoder(
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
    PublicEncoder(
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
    PublicEncoder(
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
    PublicEncoder(
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
    PublicEncoder(
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
    PublicEncoder(
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
    PublicEncoder(
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
    PublicEncoder(
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
    PublicEncoder(
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
    PublicEncoder(
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
    PublicEncoder(
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
    PublicEncoder(
        "open_clip:PE-Core-T-16-384:meta",
        6.1,
        63.4,
        9.5,
        384,
        512,
        32,
        _CLIP_WORDS,
        "Apache-2.0",
        62.1,
        _PE,
    ),
    PublicEncoder(
        "open_clip:PE-Core-S-16-384:meta",
        23.8,
        63.4,
        31.3,
        384,
        512,
        32,
        _CLIP_WORDS,
        "Apache-2.0",
        72.7,
        _PE,
    ),
    PublicEncoder(
        "open_clip:PE-Core-B-16:meta",
        93.7,
        354.0,
        35.6,
        224,
        1024,
        32,
        _CLIP_WORDS,
        "Apache-2.0",
        78.4,
        _PE,
        advice="A100",
    ),
    PublicEncoder(
        "open_clip:PE-Core-L-14-336:meta",
        317.2,
        354.0,
        384.4,
        336,
        1024,
        32,
        _CLIP_WORDS,
        "Apache-2.0",
        83.5,
        _PE,
        advice="A100, accuracy",
    ),
    PublicEncoder(
        "open_clip:MobileCLIP-S1:datacompdr",
        21.5,
        63.4,
        9.3,
        256,
        512,
        77,
        _CLIP_WORDS,
        _APPLE,
        72.6,
        _MOBILECLIP,
    ),
    PublicEncoder(
        "open_clip:MobileCLIP2-S0:dfndr2b",
        11.4,
        63.4,
        4.8,
        256,
        512,
        77,
        _CLIP_WORDS,
        _APPLE,
        71.5,
        _MOBILECLIP,
    ),
    PublicEncoder(
        "open_clip:MobileCLIP2-S2:dfndr2b",
        35.8,
        63.4,
        15.7,
        256,
        512,
        77,
        _CLIP_WORDS,
        _APPLE,
        77.2,
        _MOBILECLIP,
    ),
    PublicEncoder(
        "open_clip:ViT-B-16-SigLIP:webli",
        92.9,
        110.3,
        35.4,
        224,
        768,
        64,
        _T5,
        "Apache-2.0",
        76.0,
        _OPEN_CLIP,
    ),
    PublicEncoder(
        "open_clip:ViT-B-32-SigLIP2-256:webli",
        94.6,
        282.3,
        11.5,
        256,
        768,
        64,
        _GEMMA,
        "Apache-2.0",
        74.0,
        _SIGLIP2,
        _MANY,
    ),
    PublicEncoder(
        "open_clip:ViT-B-16-SigLIP2:webli",
        92.9,
        282.3,
        35.4,
        224,
        768,
        64,
        _GEMMA,
        "Apache-2.0",
        78.2,
        _SIGLIP2,
        _MANY,
        advice="many languages",
    ),
    PublicEncoder(
        "open_clip:ViT-L-16-SigLIP2-256:webli",
        316.0,
        565.6,
        162.6,
        256,
        1024,
        64,
        _GEMMA,
        "Apache-2.0",
        82.5,
        _SIGLIP2,
        _MANY,
    ),
    PublicEncoder(
        "open_clip:xlm-roberta-base-ViT-B-32:laion5b_s13b_b90k",
        87.8,
        278.3,
        8.8,
        224,
        512,
        77,
        _XLM_R,
        "MIT",
        62.4,
        _OPEN_CLIP,
        _MANY,
    ),
    PublicEncoder(
        "open_clip:ViT-H-14-worldwide:metaclip2_worldwide",
        632.1,
        1226.7,
        334.6,
        224,
        1024,
        77,
        _XLM_V,
        "CC-BY-NC-4.0",
        languages=_MANY,
    ),
)


def public_encoder(name: str) -> PublicEncoder | None:
    """The entry of an encoder; None for one that is not listed.

    Args:
        name: The encoder's name; the file that its weights are read from does not matter.
    """
    return next(
        (one for one in PUBLIC_ENCODERS if name == one.name or name.startswith(f"{one.name}:")),
        None,
    )


def nearest_names(text: str) -> tuple[str, ...]:
    """The names of listed encoders that a text may have meant, nearest first."""
    lowered = {one.name.lower(): one.name for one in PUBLIC_ENCODERS}
    lowered |= {one.name.partition(":")[2].lower(): one.name for one in PUBLIC_ENCODERS}
    lowered |= {one.name.split(":")[1].lower(): one.name for one in PUBLIC_ENCODERS}
    near = difflib.get_close_matches(text.lower(), lowered, n=3, cutoff=0.7)
    return tuple(dict.fromkeys(lowered[one] for one in near))
