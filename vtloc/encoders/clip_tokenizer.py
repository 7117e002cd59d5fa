"""CLIP's tokenizer as a Hugging Face ``tokenizer.json``, built from open_clip's vocabulary file.

The result gives the ids of ``open_clip.tokenize`` for every sentence whose encoding is sound.
open_clip also repairs text that was decoded wrongly ("Ã©" for "é"), and it reads a typed
``<end_of_text>`` as the special token: the first would need a language model's worth of rules,
the second lets a query cut itself short, so neither is imitated.
"""

from __future__ import annotations

import gzip
import unicodedata
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

START, END = "<start_of_text>", "<end_of_text>"
_MERGES = 49152 - 256 - 2
_PIECES = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_CONTROLS = r"[\x00-\x08\x0b\x0e-\x1f\x7f\x{206a}-\x{206f}\x{feff}\x{fff9}-\x{fffc}]"
_SINGLE_QUOTES, _DOUBLE_QUOTES = r"[\x{02bc}\x{2018}-\x{201b}]", r"[\x{201c}-\x{201f}]"
_FINAL_SIGMA = r"(?<=\p{L})Σ(?!\p{L})"
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


def clip_tokenizer(vocabulary: Path, *, context_length: int) -> Tokenizer:
    """Build the tokenizer.

    Args:
        vocabulary: open_clip's ``bpe_simple_vocab_16e6.txt.gz``.
        context_length: Longest sentence, special tokens included; a longer one is cut and keeps
            its end token.

    Returns:
        The tokenizer; it truncates and never pads.
    """
    ids, merges = _read_vocabulary(vocabulary)
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=merges, end_of_word_suffix="</w>"))
    tokenizer.normalizer = _normalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    # The special tokens are put around the sentence and never looked for inside it.
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}",
        special_tokens=[(START, ids[START]), (END, ids[END])],
    )
    tokenizer.enable_truncation(context_length)
    return tokenizer


def _read_vocabulary(path: Path) -> tuple[dict[str, int], list[tuple[str, str]]]:
    lines = gzip.decompress(path.read_bytes()).decode().split("\n")[1 : _MERGES + 1]
    merges = [(left, right) for left, right in (line.split() for line in lines)]
    letters = _byte_letters()
    vocabulary = [*letters, *(f"{letter}</w>" for letter in letters)]
    vocabulary += [left + right for left, right in merges]
    vocabulary += [START, END]
    return {token: index for index, token in enumerate(vocabulary)}, merges


def _byte_letters() -> list[str]:
    """One printable letter a byte, in the order in which CLIP numbers them."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1)]
    printable += range(ord("®"), ord("ÿ") + 1)
    others = 256 - len(printable)
    return [*(chr(byte) for byte in printable), *(chr(256 + index) for index in range(others))]


def _normalizer() -> normalizers.Normalizer:
    unescape = [normalizers.Replace(entity, text) for entity, text in _ENTITIES.items()]
    plain = [
        normalizers.Replace(chr(code), unicodedata.normalize("NFKC", chr(code)))
        for code in _COMPATIBLE
    ]
    return normalizers.Sequence(
        [
            *unescape,
            *unescape,  # open_clip unescapes twice
            *plain,
            normalizers.Replace(Regex(_SINGLE_QUOTES), "'"),
            normalizers.Replace(Regex(_DOUBLE_QUOTES), '"'),
            normalizers.Replace(Regex(_CONTROLS), ""),
            normalizers.NFC(),
            # Lowercase works letter by letter, and a Greek word ends in another sigma.
            normalizers.Replace(Regex(_FINAL_SIGMA), "ς"),
            normalizers.Lowercase(),
        ]
    )
