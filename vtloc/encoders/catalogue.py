"""Public encoders of the kinds that are tested, with what is published about them.

Sizes and arithmetic are those of the towers themselves, with the branches of training. Accuracy is
zero-shot classification of ImageNet-1k as published; a cell without a source stays empty.
"""

from __future__ import annotations

import csv
import difflib
from dataclasses import dataclass
from pathlib import Path

import msgspec

_TABLE = Path(__file__).with_name("public_encoders.csv")
_NEAREST = 3


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


def _read_table() -> tuple[PublicEncoder, ...]:
    with _TABLE.open(newline="", encoding="utf-8") as file:
        rows = [{name: cell for name, cell in row.items() if cell} for row in csv.DictReader(file)]
    return msgspec.convert(rows, tuple[PublicEncoder, ...], strict=False)


PUBLIC_ENCODERS = _read_table()


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
    """The names of encoders that a text may have meant, nearest first."""
    if text.startswith(("local-dir:", "hf-hub:")):
        return (f"open_clip:{text}",)
    sought = text.lower()
    lowered = {one.name.lower(): one.name for one in PUBLIC_ENCODERS}
    lowered |= {one.name.partition(":")[2].lower(): one.name for one in PUBLIC_ENCODERS}
    lowered |= {one.name.split(":")[1].lower(): one.name for one in PUBLIC_ENCODERS}
    near = difflib.get_close_matches(sought, lowered, n=_NEAREST, cutoff=0.7)
    if not near and sought:
        near = [name for name in lowered if sought in name.removeprefix("open_clip:")]
    return tuple(dict.fromkeys(lowered[one] for one in near))[:_NEAREST]
