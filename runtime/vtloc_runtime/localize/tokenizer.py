"""A sentence to token ids: cleaning, tokenizing, cutting to length, padding."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vtloc_runtime.errors import BundleError, QueryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from vtloc_runtime.bundle.bundle import Bundle

MOST_CHARACTERS = 16_384
"""Longer sentences are cut before they reach the tokenizer, whose work grows with the length."""

_BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True, slots=True)
class TokenizedQuery:
    """One sentence, ready for the text network.

    Attributes:
        text: The sentence after cleaning.
        ids: Token ids, special tokens included.
        warnings: What was lost on the way.
        words: The words that the tokens belong to.
        word_of: The word of each token; -1 for special tokens.
    """

    text: str
    ids: tuple[int, ...]
    warnings: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    word_of: tuple[int, ...] = ()


def clean_query(query: object) -> str:
    """The sentence in composed Unicode (NFC), on one line, without control characters.

    Raises:
        QueryError: It is not text, or nothing is left of it.
    """
    if not isinstance(query, str):
        raise QueryError(f"a sentence is text, not {type(query).__name__}")
    # Composing looks characters up one by one, so an endless sentence is cut first.
    text = unicodedata.normalize("NFC", query[: 2 * MOST_CHARACTERS])
    kept = (
        " " if character.isspace() else character
        for character in text
        if character.isspace()
        or (character != _BYTE_ORDER_MARK and unicodedata.category(character) not in {"Cc", "Cs"})
    )
    cleaned = " ".join("".join(kept).split())
    if not cleaned:
        raise QueryError("the sentence is empty", remedy="Describe the moment in a few words")
    return cleaned


class QueryTokenizer:
    """The tokenizer of a bundle's text network; safe to call from several threads.

    Args:
        content: The ``tokenizer.json``.
        max_tokens: Longest sequence the text network takes, special tokens included.
        pad_id: The id that fills up a batch.

    Raises:
        BundleError: The content is no tokenizer.
    """

    def __init__(self, content: bytes, *, max_tokens: int, pad_id: int) -> None:
        from tokenizers import Tokenizer

        try:
            self._tokenizer: Any = Tokenizer.from_str(content.decode("utf-8"))
            unknown = json.loads(content)["model"].get("unk_token")
        except Exception as error:
            raise BundleError(f"the tokenizer cannot be read: {error}") from error
        self._tokenizer.no_padding()
        try:
            self._tokenizer.enable_truncation(max_tokens)
        except Exception as error:
            raise BundleError(f"the tokenizer takes no {max_tokens} tokens: {error}") from error
        self._unknown = unknown
        self._max_tokens = max_tokens
        self._pad_id = pad_id

    @classmethod
    def of(cls, bundle: Bundle, *, max_tokens: int | None = None) -> QueryTokenizer:
        """The tokenizer of a bundle, once its hash was found to be right.

        Args:
            bundle: The bundle.
            max_tokens: A limit below the bundle's own, such as an engine's.

        Raises:
            BundleError: The file is missing, altered, or no tokenizer.
        """
        entry = bundle.manifest.tokenizer
        longest = min(entry.max_tokens, max_tokens or entry.max_tokens)
        return cls(bundle.tokenizer(), max_tokens=longest, pad_id=entry.pad_id)

    def tokenize(self, query: str) -> TokenizedQuery:
        """Clean one sentence and turn it into ids.

        Raises:
            QueryError: The sentence is empty, or nothing the tokenizer knows.
        """
        text = clean_query(query)
        encoding = self._tokenizer.encode(text[:MOST_CHARACTERS])
        ids = tuple(encoding.ids)
        words = [
            token
            for token, special in zip(encoding.tokens, encoding.special_tokens_mask, strict=True)
            if not special
        ]
        if not words:
            raise QueryError(
                "the sentence holds nothing that the text network knows",
                where=_shorten(text),
                remedy="Describe the moment in a few words",
            )
        warnings = []
        if encoding.overflowing or len(text) > MOST_CHARACTERS:
            warnings.append(
                f"the sentence is longer than {self._max_tokens} tokens; the rest was not read"
            )
        unknown = sum(token == self._unknown for token in words)
        if self._unknown is not None and 2 * unknown >= len(words):
            warnings.append(f"the text network does not know {unknown} of {len(words)} words")
        return TokenizedQuery(text, ids, tuple(warnings), *_words(text, encoding))

    def batch(
        self, queries: Sequence[TokenizedQuery]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Pad sentences to the longest among them.

        Returns:
            Token ids ``[B, N]``, and a mask ``[B, N]`` that is True for real tokens.
        """
        longest = max(len(query.ids) for query in queries)
        ids = np.full((len(queries), longest), self._pad_id, dtype=np.int64)
        mask = np.zeros((len(queries), longest), dtype=bool)
        for row, query in enumerate(queries):
            ids[row, : len(query.ids)] = query.ids
            mask[row, : len(query.ids)] = True
        return ids, mask


def _words(text: str, encoding: Any) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The words of a sentence, and the word of each of its tokens (-1 for special tokens)."""
    places = [-1 if place is None else place for place in encoding.word_ids]
    known = sorted({place for place in places if place >= 0})
    numbers = {place: number for number, place in enumerate(known)}
    reach: dict[int, tuple[int, int]] = {}
    for place, (start, stop) in zip(places, encoding.offsets, strict=True):
        low, high = reach.get(place, (start, stop))
        reach[place] = (min(low, start), max(high, stop))
    words = tuple(text[slice(*reach[place])].strip() for place in known)
    return words, tuple(numbers.get(place, -1) for place in places)


def _shorten(text: str, longest: int = 60) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"
