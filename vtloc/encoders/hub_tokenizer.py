"""The tokenizers of SigLIP, MetaCLIP 2 and XLM-R towers as a ``tokenizer.json``.

They come from the Hugging Face hub, with Gemma's, T5's or XLM-R's vocabulary. open_clip cleans a
sentence first and tokenizes it then; here both lie in one file that the runtime reads alone.
"""

from __future__ import annotations

import json
from typing import Any

from tokenizers import Tokenizer, normalizers

from vtloc.encoders.text_cleaning import CLEANINGS, Cleaning, cleaning_steps
from vtloc.errors import EncoderError


def hub_tokenizer(wrapped: Any, *, context_length: int, name: str) -> tuple[Tokenizer, int]:
    """Build the tokenizer.

    Args:
        wrapped: open_clip's ``HFTokenizer``.
        context_length: Longest sentence, special tokens included.
        name: The encoder's name, for messages.

    Returns:
        The tokenizer, which truncates and never pads, and the padding token's id.

    Raises:
        EncoderError: It does something that a ``tokenizer.json`` cannot.
    """
    fast = wrapped.tokenizer
    sides = {getattr(fast, side, "right") for side in ("padding_side", "truncation_side")}
    if sides != {"right"}:
        raise EncoderError(
            "its tokenizer fills up or cuts sentences on the left",
            where=name,
            remedy="Set padding_side and truncation_side to right in its tokenizer_config.json, "
            "if the model was trained so",
        )
    unusual = wrapped.tokenizer_mode or wrapped.strip_sep_token or hasattr(wrapped, "set_lang_fn")
    if unusual or not getattr(fast, "is_fast", False) or fast.pad_token_id is None:
        raise EncoderError(
            "its tokenizer does more than a tokenizer.json can hold",
            where=name,
            remedy="Use it for frames, with hf:DIRECTORY or minilm as the text encoder",
        )
    cleaning = _cleaning(wrapped, name)
    content = json.loads(fast.backend_tokenizer.to_str())
    if cleaning == "canonicalize":
        # Special tokens are looked for before the text is cleaned. Of cleaned text none is left:
        # every one of them has punctuation in it.
        content["added_tokens"] = []
    tokenizer = Tokenizer.from_str(json.dumps(content))
    steps = list(cleaning_steps(cleaning))
    if tokenizer.normalizer is not None:
        steps.append(tokenizer.normalizer)
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.no_padding()
    tokenizer.enable_truncation(context_length)
    return tokenizer, int(fast.pad_token_id)


def _cleaning(wrapped: Any, name: str) -> Cleaning:
    function = getattr(wrapped.clean_fn, "__name__", "")
    for known in CLEANINGS:
        if function == f"_clean_{known}":
            return known
    raise EncoderError(f"its text is cleaned by an unknown function, {function}", where=name)
