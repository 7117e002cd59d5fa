"""A sentence to token ids: cleaning, tokenizing, cutting to length, padding."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from vtloc_runtime.errors import BundleError, QueryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from vtloc_runtime.bundle.bundle import Bundle

MOST_CHARACTERS = 16_384
"""Longer sentences are cut before they reach the tokenizer, whose work grows with the length."""

_BYTE_ORDER_MARK = "\ufeff"
_LARGEST_ID = 2**31 - 1
_PLAIN_WORDS = "a dog on the beach"


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


class _TokenizerFile(msgspec.Struct):
    """The part of a ``tokenizer.json`` that is read here."""

    model: _Model
    post_processor: _PostProcessor | None = None


class _Model(msgspec.Struct):
    """What kind of tokenizer it is; its vocabulary is passed over."""

    type: Any = None
    unk_token: Any = None


class _PostProcessor(msgspec.Struct):
    """What is done to tokens: templates and sequences of such steps are looked into."""

    single: Any = None
    processors: tuple[_PostProcessor, ...] = ()

    def repeats(self) -> bool:
        """Whether some template has the sentence more than once."""
        pieces = self.single if isinstance(self.single, list) else []
        sentences = sum(isinstance(piece, dict) and "Sequence" in piece for piece in pieces)
        return sentences > 1 or any(one.repeats() for one in self.processors)


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
        BundleError: The content is not a tokenizer.
    """

    def __init__(self, content: bytes, *, max_tokens: int, pad_id: int) -> None:
        from tokenizers import Tokenizer

        if not 0 <= pad_id <= _LARGEST_ID:
            raise _faulty(f"its padding id {pad_id} is not between 0 and {_LARGEST_ID}")
        self._max_tokens = max_tokens
        self._pad_id = pad_id
        with _own_errors("cannot be read"):
            file = msgspec.json.decode(content, type=_TokenizerFile)
            self._unknown = file.model.unk_token
            # Only a vocabulary of whole words tells known words from unknown ones.
            self._whole_words = file.model.type == "WordPiece"
            self._tokenizer: Any = Tokenizer.from_str(content.decode("utf-8"))
            self._tokenizer.no_padding()
        if file.post_processor is not None and file.post_processor.repeats():
            # What is cut off multiplies: one long sentence would take gigabytes.
            raise _faulty("its template repeats the sentence")
        with _own_errors(f"does not take {max_tokens} tokens"):
            self._tokenizer.enable_truncation(max_tokens)
        # A tokenizer that fails on plain words would fail on every sentence.
        with _own_errors("fails on plain words"):
            plain = self._tokenizer.encode(_PLAIN_WORDS)
        if plain.overflowing and all(plain.special_tokens_mask):
            raise _faulty(f"it has no room for words in {max_tokens} tokens")

    @classmethod
    def from_bundle(cls, bundle: Bundle, *, max_tokens: int | None = None) -> QueryTokenizer:
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
            BundleError: The tokenizer fails on it.
        """
        text = clean_query(query)
        with _own_errors(f"fails on the sentence {_shorten(text)!r}"):
            encoding = self._tokenizer.encode(text[:MOST_CHARACTERS])
            ids = tuple(encoding.ids)
            marks = zip(encoding.tokens, encoding.special_tokens_mask, strict=True)
            words = [token for token, special in marks if not special]
            overflowing = bool(encoding.overflowing)
        if len(ids) > self._max_tokens:
            # A template may add more tokens than it announces.
            raise _faulty(f"it makes {len(ids)} tokens where at most {self._max_tokens} are taken")
        if not words:
            raise QueryError(
                "the sentence contains nothing that the text encoder knows",
                where=_shorten(text),
                remedy="Describe the moment in a few words",
            )
        warnings = []
        if overflowing or len(text) > MOST_CHARACTERS:
            warnings.append(
                f"the sentence is longer than {self._max_tokens} tokens; the rest was not read"
            )
        unknown = sum(token == self._unknown for token in words)
        if self._unknown is not None and 2 * unknown >= len(words):
            warnings.append(f"the text network does not know {unknown} of {len(words)} words")
        spelled, word_of = _words(text, encoding)
        if self._whole_words and (warning := _language_warning(spelled, word_of)):
            warnings.append(warning)
        return TokenizedQuery(text, ids, tuple(warnings), spelled, word_of)

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


def _language_warning(words: tuple[str, ...], word_of: tuple[int, ...]) -> str | None:
    """What to say of a sentence whose words are hardly among those the text encoder learned."""
    letters = [letter for word in words for letter in word if letter.isalpha()]
    foreign = sum(not unicodedata.name(letter, "").startswith("LATIN") for letter in letters)
    if 2 * foreign > len(letters):
        return "the sentence is in another script than the text encoder learned; ask in English"
    pieces = Counter(word_of)
    unknown = [word for number, word in enumerate(words) if pieces[number] > 1 and word.isalpha()]
    if 3 * len(unknown) < len(words) or not unknown:
        return None
    shown = ", ".join(_shorten(word, 20) for word in unknown[:3])
    return f"the text encoder does not know some words ({shown}); it reads English"


def _faulty(what: str) -> BundleError:
    return BundleError(f"the bundle's tokenizer: {what}", remedy="Export the bundle again")


@contextmanager
def _own_errors(failure: str) -> Iterator[None]:
    """Turn whatever the tokenizers package raises into a BundleError."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        # A panic in Rust is a BaseException, which ``except Exception`` would let through.
        lines = str(error).splitlines()
        reason = lines[0][:200] if lines else type(error).__name__
        raise _faulty(f"it {failure}: {reason}") from error


def _shorten(text: str, longest: int = 60) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"
