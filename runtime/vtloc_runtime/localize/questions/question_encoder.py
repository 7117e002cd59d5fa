"""Questions to vectors: their sentences by the text network, their pictures by the visual one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vtloc_runtime.localize.questions.question import EncodedQuestion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vtloc_runtime.localize.questions.picture_encoder import PictureEncoder
    from vtloc_runtime.localize.questions.question import Question
    from vtloc_runtime.localize.questions.text_encoder import SentenceEncoder
    from vtloc_runtime.video.isolation.chunks import Read


class QuestionEncoder:
    """Encodes questions; safe to call from several threads.

    Args:
        sentences: Encodes their wordings.
        pictures: Encodes their pictures.
    """

    def __init__(self, sentences: SentenceEncoder, pictures: PictureEncoder) -> None:
        self._sentences = sentences
        self._pictures = pictures

    def check(self, question: Question) -> None:
        """Refuse a question that cannot be searched for, without running anything.

        Raises:
            QueryError: A sentence is empty, or nothing the tokenizer knows.
            UsageError: A picture is asked with, and frames and sentences share no space.
        """
        for sentence in question.wordings:
            self._sentences.check(sentence)
        if question.pictures:
            self._pictures.check()

    def encode_pictures(self, question: Question, read: Read) -> None:
        """Encode a question's pictures, which are then remembered for a while.

        Raises:
            QueryError: A picture cannot be read.
            UsageError: Frames and sentences share no space.
        """
        for picture in question.pictures:
            self._pictures.encode(picture, read)

    def encode(self, asked: Sequence[Question], read: Read) -> list[EncodedQuestion]:
        """Encode questions, in their order.

        Args:
            asked: The questions.
            read: Where pictures are decoded.

        Raises:
            QueryError: A sentence is empty, or a picture cannot be read.
            UsageError: A picture is asked with, and frames and sentences share no space.
            NetworkError: A network failed, or gave numbers that are not finite.
        """
        sentences = iter(
            self._sentences.encode([text for question in asked for text in question.wordings])
        )
        encoded = []
        for question in asked:
            own = tuple(next(sentences) for _ in question.wordings)
            pictures = [self._pictures.encode(picture, read) for picture in question.pictures]
            mean = np.asarray(np.mean(pictures, axis=0)) if pictures else None
            encoded.append(EncodedQuestion(question, own, mean))
        return encoded
