"""What can be asked of a video: a sentence, several wordings of one, and pictures."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Self, TypeAlias

from vtloc_runtime.errors import QueryError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vtloc_runtime.localize.questions.text_encoder import EncodedSentence

MOST_PARTS = 64
"""Wordings and pictures of one question at most."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture to find moments like: JPEG, PNG, WebP or whatever else can be decoded.

    Attributes:
        source: Its path, or its bytes.
    """

    source: str | PurePath | bytes

    def __post_init__(self) -> None:
        source: object = self.source
        if not isinstance(source, str | PurePath | bytes) or not source:
            raise QueryError(
                f"a picture is a path or bytes, not {source!r:.60}",
                remedy='Give Picture("dog.jpg"), or the bytes of a file',
            )

    @property
    def name(self) -> str:
        """What records and messages call it."""
        return "a picture" if isinstance(self.source, bytes) else os.fspath(self.source)


Part: TypeAlias = str | Picture | PurePath
Query: TypeAlias = Part | tuple[Part, ...]
"""One question: a sentence, a picture or its path, or a tuple of several that mean the same."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question, its sentences and pictures apart.

    Attributes:
        wordings: Sentences that mean the same; they are averaged.
        pictures: Pictures that show the same; they are averaged, and weigh as much as the
            sentences.
    """

    wordings: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()

    @classmethod
    def parse(cls, query: object) -> Self:
        """Read one question.

        Args:
            query: As `Query` says.

        Raises:
            QueryError: It is something else, or asks nothing.
        """
        parts = query if isinstance(query, tuple) else (query,)
        if not parts:
            raise QueryError("the question is empty", remedy="Give a sentence, or a picture")
        if len(parts) > MOST_PARTS:
            raise QueryError(
                f"a question of {len(parts)} wordings and pictures is too long",
                remedy=f"Give at most {MOST_PARTS}; a list asks each on its own",
            )
        wordings: list[str] = []
        pictures: list[Picture] = []
        for part in parts:
            if isinstance(part, str):
                wordings.append(part)
            elif isinstance(part, Picture):
                pictures.append(part)
            elif isinstance(part, PurePath):
                pictures.append(Picture(part))
            else:
                raise QueryError(
                    f"a sentence is text, not {type(part).__name__}",
                    remedy="Give one sentence, or a list of them; a picture is a path",
                )
        return cls(tuple(wordings), tuple(pictures))

    @property
    def sentence(self) -> str:
        """The first wording; empty where pictures alone ask."""
        return self.wordings[0] if self.wordings else ""

    @property
    def rewrites(self) -> tuple[str, ...]:
        """The other wordings."""
        return self.wordings[1:]

    @property
    def like(self) -> tuple[str, ...]:
        """The names of the pictures."""
        return tuple(picture.name for picture in self.pictures)


@dataclass(frozen=True, slots=True, eq=False)
class EncodedQuestion:
    """A question as the networks see it.

    Attributes:
        question: What was asked.
        sentences: Its wordings, encoded.
        picture: ``[Ds]``, the mean of its pictures, of length 1 each; None without pictures.
    """

    question: Question
    sentences: tuple[EncodedSentence, ...]
    picture: NDArray[np.float64] | None = None

    @property
    def key(self) -> Question:
        """What the answer depends on: the cleaned sentences, and the pictures."""
        return Question(tuple(one.text for one in self.sentences), self.question.pictures)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was lost on the way."""
        return tuple(dict.fromkeys(text for one in self.sentences for text in one.warnings))


def read_questions(queries: object) -> tuple[list[Question], bool]:
    """Questions, and whether it was one alone.

    Args:
        queries: One question, or any number of them in a list.

    Raises:
        QueryError: One of them is not a question.
    """
    if isinstance(queries, str | Picture | PurePath | tuple):
        return [Question.parse(queries)], True
    if isinstance(queries, bytes | bytearray | Mapping) or not isinstance(queries, Iterable):
        raise QueryError(
            f"a sentence is text, not {type(queries).__name__}",
            remedy="Give one sentence, or a list of them; a picture is a path",
        )
    return [Question.parse(query) for query in queries], False
