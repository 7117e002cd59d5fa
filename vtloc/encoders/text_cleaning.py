"""What open_clip does to a sentence before it is tokenized, as steps of a ``tokenizer.json``.

open_clip cleans in Python, with ftfy and string methods; a bundle's tokenizer runs without them.
It also repairs text that was decoded wrongly ("Ã©" for "é"), which would need a language model's
worth of rules and is not imitated.
"""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Sequence
from typing import Literal

from tokenizers import Regex, normalizers

Cleaning = Literal["lower", "whitespace", "canonicalize"]
"""open_clip's ways to clean: lower case; single spaces; both, and no punctuation."""

CLEANINGS: tuple[Cleaning, ...] = ("lower", "whitespace", "canonicalize")

_CONTROLS = r"[\x00-\x08\x0b\x0e-\x1f\x7f\x{206a}-\x{206f}\x{feff}\x{fff9}-\x{fffc}]"
_SINGLE_QUOTES, _DOUBLE_QUOTES = r"[\x{02bc}\x{2018}-\x{201b}]", r"[\x{201c}-\x{201f}]"
_FINAL_SIGMA = (
    r"(?<=\p{Cased}|\p{Cased}\p{Case_Ignorable}|\p{Cased}\p{Case_Ignorable}{2})"
    r"Σ(?!\p{Case_Ignorable}*\p{Cased})"
)
"""Unicode's rule, with two marks between the letters at most."""
_ENTITIES = {
    "&lt;": "<",
    "&gt;": ">",
    "&quot;": '"',
    "&#39;": "'",
    "&apos;": "'",
    "&nbsp;": " ",
    "&amp;": "&",
}
_COMPATIBLE = (*range(0xFB00, 0xFB07), *range(0xFF01, 0xFF5F), 0x0132, 0x0133, 0x0149, 0x3000)
"""Latin ligatures and full-width letters, which open_clip reads as the plain ones."""


def cleaning_steps(cleaning: Cleaning) -> Sequence[normalizers.Normalizer]:
    """The steps of one of open_clip's ways to clean a sentence.

    Args:
        cleaning: Which of them.
    """
    lower = (
        # Lowercase works letter by letter, and a Greek word ends in another sigma.
        normalizers.Replace(Regex(_FINAL_SIGMA), "ς"),
        normalizers.Lowercase(),
    )
    single_spaces = (normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip())
    if cleaning == "lower":
        # The words of CLIP's tokenizer end at any space, so the spaces may stay as they are.
        return (*_repairs(), *lower)
    if cleaning == "whitespace":
        return (*_repairs(), *single_spaces)
    removed = "".join(f"\\x{{{ord(sign):02x}}}" for sign in string.punctuation)
    unpunctuated = (
        normalizers.Replace("_", " "),
        normalizers.Replace(Regex(f"[{removed}]"), ""),
    )
    return (*_repairs(), *unpunctuated, *lower, *single_spaces)


def _repairs() -> Sequence[normalizers.Normalizer]:
    unescape = [normalizers.Replace(entity, text) for entity, text in _ENTITIES.items()]
    plain = [
        normalizers.Replace(chr(code), unicodedata.normalize("NFKC", chr(code)))
        for code in _COMPATIBLE
    ]
    return (
        *unescape,
        *unescape,  # open_clip unescapes twice
        *plain,
        normalizers.Replace(Regex(_SINGLE_QUOTES), "'"),
        normalizers.Replace(Regex(_DOUBLE_QUOTES), '"'),
        normalizers.Replace(Regex(_CONTROLS), ""),
        normalizers.NFC(),
    )
