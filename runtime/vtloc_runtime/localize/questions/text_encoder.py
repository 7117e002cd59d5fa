"""Sentences to token features: each distinct sentence is encoded once and kept for a while."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from vtloc_runtime.errors import NetworkError
from vtloc_runtime.networks.interface import check_finite

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from vtloc_runtime.localize.questions.tokenizer import QueryTokenizer, TokenizedQuery
    from vtloc_runtime.networks.interface import Network

DEFAULT_KEPT = 4096
MOST_KEPT_BYTES = 256 * 2**20
"""Bytes that remembered sentences take at most, however many may be kept."""

_LONGEST_KEPT = 1000
"""Characters of a sentence whose tokens are remembered."""


@dataclass(frozen=True, slots=True, eq=False)
class EncodedSentence:
    """A sentence as the localizer sees it.

    Attributes:
        text: The sentence after cleaning.
        tokens: ``[N, Dt]``, one row a token.
        sentence: ``[Ds]``, of length 1.
        warnings: What was lost on the way.
        words: The words that the tokens belong to.
        word_of: The word of each token; -1 for special tokens.
    """

    text: str
    tokens: NDArray[np.floating]
    sentence: NDArray[np.floating]
    warnings: tuple[str, ...]
    words: tuple[str, ...] = ()
    word_of: tuple[int, ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes that it takes, nearly."""
        return self.tokens.nbytes + self.sentence.nbytes + 4 * len(self.text)


class SentenceEncoder:
    """Runs the text network over sentences; safe to call from several threads.

    Args:
        network: The text network.
        tokenizer: Its tokenizer.
        batch: Sentences in one run at most.
        kept: Distinct sentences remembered, within ``MOST_KEPT_BYTES``; the least recently used is
            forgotten first.
    """

    def __init__(
        self,
        network: Network,
        tokenizer: QueryTokenizer,
        *,
        batch: int,
        kept: int = DEFAULT_KEPT,
    ) -> None:
        self._network = network
        self._tokenizer = tokenizer
        self._batch = network.inputs["token_ids"].batch(batch)
        self._kept = kept
        self._bytes = 0
        self._known: OrderedDict[str, EncodedSentence] = OrderedDict()
        self._tokenized: OrderedDict[str, TokenizedQuery] = OrderedDict()
        self._lock = threading.Lock()

    def check(self, query: str) -> None:
        """Refuse a sentence that cannot be searched for, without encoding it.

        Raises:
            QueryError: The sentence is empty, or nothing the tokenizer knows.
        """
        self._tokenize(query)

    def encode(self, queries: Sequence[str]) -> list[EncodedSentence]:
        """Encode sentences, in their order.

        Raises:
            QueryError: A sentence is empty, or nothing the tokenizer knows.
            NetworkError: The text network failed, or gave numbers that are not finite.
        """
        tokenized = [self._tokenize(query) for query in queries]
        found = self._recall(query.text for query in tokenized)
        missing = {query.text: query for query in tokenized if query.text not in found}
        # Sentences of one length share a run without padding, so company changes no answer.
        by_length = sorted(missing.values(), key=lambda query: (len(query.ids), query.text))
        for _, group in groupby(by_length, key=lambda query: len(query.ids)):
            same = list(group)
            for top in range(0, len(same), self._batch):
                for sentence in self._run(same[top : top + self._batch]):
                    found[sentence.text] = sentence
        self._remember(found[text] for text in missing)
        return [found[query.text] for query in tokenized]

    def _tokenize(self, query: Any) -> TokenizedQuery:
        """Tokenize a sentence, once for its check and its encoding.

        Raises:
            QueryError: The sentence is empty, or nothing the tokenizer knows.
        """
        known = self._tokenized.get(query) if isinstance(query, str) else None
        if known is None:
            known = self._tokenizer.tokenize(query)
            if len(query) > _LONGEST_KEPT:
                return known
            with self._lock:
                self._tokenized[query] = known
                while len(self._tokenized) > self._kept:
                    self._tokenized.popitem(last=False)
        return known

    def _run(self, queries: list[TokenizedQuery]) -> list[EncodedSentence]:
        ids, mask = self._tokenizer.batch(queries)
        result = self._network.run({"token_ids": ids, "token_mask": mask})
        tokens, sentences = result["tokens"], result["sentence"]
        if tokens.shape[:2] != ids.shape or sentences.shape[:1] != ids.shape[:1]:
            raise NetworkError(
                f"{len(queries)} sentences gave {tokens.shape} tokens and {sentences.shape} "
                "sentences",
                where=self._network.name,
            )
        check_finite(tokens, what="tokens", network=self._network.name)
        check_finite(sentences, what="sentences", network=self._network.name)
        return [
            EncodedSentence(
                query.text,
                np.array(tokens[row, : len(query.ids)]),
                np.array(sentences[row]),
                query.warnings,
                query.words,
                query.word_of,
            )
            for row, query in enumerate(queries)
        ]

    def _recall(self, texts: Iterable[str]) -> dict[str, EncodedSentence]:
        found = {}
        with self._lock:
            for text in texts:
                if text in self._known:
                    self._known.move_to_end(text)
                    found[text] = self._known[text]
        return found

    def _remember(self, sentences: Iterable[EncodedSentence]) -> None:
        with self._lock:
            for sentence in sentences:
                forgotten = self._known.pop(sentence.text, None)
                self._bytes += sentence.nbytes - (forgotten.nbytes if forgotten else 0)
                self._known[sentence.text] = sentence
            while self._known and (len(self._known) > self._kept or self._bytes > MOST_KEPT_BYTES):
                self._bytes -= self._known.popitem(last=False)[1].nbytes
