"""CLIP's tokenizer as a Hugging Face ``tokenizer.json``, built from open_clip's vocabulary file.

The result gives the ids of ``open_clip.tokenize`` for every sentence whose encoding is sound.
open_clip also reads a typed ``<end_of_text>`` as the special token; that would let a query cut
itself short, so it is not imitated.
"""

from __future__ import annotations

import gzip
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from vtloc.encoders.text_cleaning import cleaning_steps

START, END = "<start_of_text>", "<end_of_text>"
_MERGES = 49152 - 256 - 2
_PIECES = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


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
    tokenizer.normalizer = normalizers.Sequence(list(cleaning_steps("lower")))
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
