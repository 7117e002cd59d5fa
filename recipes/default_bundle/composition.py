"""What timelines show and ask for: segments, answers, hard negatives, empty stretches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import numpy as np

from recipes.default_bundle.described import joined
from recipes.default_bundle.footage import FootageConfig, Segment, render
from recipes.default_bundle.sentences import write_sentence
from recipes.default_bundle.vocabulary import Relation
from vtloc.errors import ConfigurationError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recipes.default_bundle.prototypes import ClassPrototypes
    from recipes.default_bundle.vocabulary import Concept, Split, Vocabulary

_HARD_NEGATIVES = 120
"""How many of the nearest concepts count as resembling what is asked for."""

_ATTEMPTS = 16
"""Concepts drawn before a segment stays empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompositionConfig:
    """How timelines are composed; probabilities unless said otherwise.

    Attributes:
        frames: Fewest and most frames.
        segments: Fewest and most segments.
        shortest: Fewest frames of a segment.
        relations: Shares of the concepts' relations among what is shown and asked for.
        empty: A segment shows nothing in particular.
        repeated: What is asked for returns in a second segment.
        hard: A segment is chosen to resemble what is asked for.
        recurring: A segment shows again what an earlier one showed, as cuts between two cameras do.
        companion: The moment holds two things and the sentence names both.
        absent: Nothing in the timeline answers the sentence.
        strength: Weakest and strongest subject, as a length in activations.
    """

    frames: tuple[int, int] = (16, 96)
    segments: tuple[int, int] = (1, 7)
    shortest: int = 2
    relations: tuple[tuple[Relation, float], ...] = (
        ("name", 0.3),
        ("synonym", 0.15),
        ("kind", 0.2),
        ("scene", 0.12),
        ("related", 0.23),
    )
    empty: float = 0.12
    repeated: float = 0.12
    hard: float = 0.25
    recurring: float = 0.0
    companion: float = 0.12
    absent: float = 0.04
    strength: tuple[float, float] = (1.8, 4.7)

    def __post_init__(self) -> None:
        for name in ("empty", "repeated", "hard", "recurring", "companion", "absent"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigurationError(f"{name} must be between 0 and 1", where="composition")
        for name in ("frames", "segments", "strength"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ConfigurationError(f"{name} must be a range", where="composition")
        if not 1 <= self.shortest <= self.frames[0]:
            raise ConfigurationError("shortest does not fit the frames", where="composition")
        unknown = {relation for relation, _ in self.relations} - set(get_args(Relation))
        if unknown or sum(share for _, share in self.relations) <= 0:
            raise ConfigurationError("relations have no shares", where="composition")


@dataclass(frozen=True, slots=True)
class Timeline:
    """A composed video and the sentence that asks for a part of it.

    Attributes:
        pooled: Pooled activations, float32 [T, 1280].
        sentence: The query.
        moments: First and last frame of each segment that answers it; empty where none does.
        relation: How the sentence's words relate to what the frames show.
    """

    pooled: NDArray[np.float32]
    sentence: str
    moments: tuple[tuple[int, int], ...]
    relation: Relation


class Composer:
    """Composes timelines.

    Args:
        prototypes: Where classes lie.
        vocabulary: What can be shown and asked for.
        split: Whose sentence templates are used.
        config: What timelines hold.
        footage: How their frames come about.
    """

    def __init__(
        self,
        prototypes: ClassPrototypes,
        vocabulary: Vocabulary,
        split: Split,
        config: CompositionConfig,
        footage: FootageConfig,
    ) -> None:
        self._prototypes = prototypes
        self._vocabulary = vocabulary
        self._split: Split = split
        self._config = config
        self._footage = footage
        pools = [(vocabulary.related(relation), share) for relation, share in config.relations]
        self._pools = [pool for pool, _ in pools if len(pool)]
        shares = np.array([share for pool, share in pools if len(pool)])
        self._shares = shares / shares.sum()

    def compose(self, rng: np.random.Generator, *, frames: int | None = None) -> Timeline:
        """Compose one timeline.

        Args:
            rng: Where every choice comes from.
            frames: T; None draws it.
        """
        config = self._config
        if frames is None:
            frames = int(rng.integers(config.frames[0], config.frames[1] + 1))
        spans = self._cut(rng, frames)
        asked = self._draw(rng)
        companion = self._draw(rng) if rng.random() < config.companion else None
        absent = rng.random() < config.absent
        answers = self._answers(rng, len(spans), absent=absent)
        segments = self._fill(rng, len(spans), answers, asked, companion)
        sentence = write_sentence(
            self._concept(asked),
            rng,
            split=self._split,
            companion=None if companion is None else self._concept(companion),
        )
        moments = joined([spans[index] for index in sorted(answers)])
        pooled = render(self._prototypes, spans, segments, rng, self._footage)
        return Timeline(pooled, sentence, moments, self._concept(asked).relation)

    def _concept(self, index: int) -> Concept:
        return self._vocabulary.concepts[index]

    def _cut(self, rng: np.random.Generator, length: int) -> list[tuple[int, int]]:
        """First and last frames of the segments, in order."""
        config = self._config
        most = min(config.segments[1], length // config.shortest)
        count = int(rng.integers(min(config.segments[0], most), most + 1))
        shares = rng.dirichlet(np.full(count, 1.5))
        lengths = config.shortest + np.floor(shares * (length - config.shortest * count)).astype(
            int
        )
        lengths[int(rng.integers(count))] += length - int(lengths.sum())
        ends = np.cumsum(lengths)
        return [(int(end - size), int(end - 1)) for end, size in zip(ends, lengths, strict=True)]

    def _draw(self, rng: np.random.Generator) -> int:
        pool = self._pools[rng.choice(len(self._pools), p=self._shares)]
        return int(pool[rng.integers(len(pool))])

    def _answers(self, rng: np.random.Generator, segments: int, *, absent: bool) -> set[int]:
        if absent:
            return set()
        answers = {int(rng.integers(segments))}
        if segments > 2 and rng.random() < self._config.repeated:
            answers.add(int(rng.integers(segments)))
        return answers

    def _fill(
        self,
        rng: np.random.Generator,
        count: int,
        answers: set[int],
        asked: int,
        companion: int | None,
    ) -> list[Segment]:
        """What every segment shows, so that only the answers hold all that is asked for."""
        wanted = (asked,) if companion is None else (asked, companion)
        forbidden = {c for index in wanted for c in self._concept(index).classes}
        segments: list[Segment] = []
        others: list[Segment] = []
        shown: tuple[int, ...]
        for position in range(count):
            if position in answers:
                segments.append(self._segment(rng, wanted))
                continue
            if others and rng.random() < self._config.recurring:
                segments.append(others[int(rng.integers(len(others)))])
                continue
            if companion is not None and rng.random() < 0.3:
                # Half an answer: one of the two things, without the other.
                shown = (wanted[int(rng.integers(2))],)
            elif rng.random() < self._config.empty:
                shown = ()
            else:
                shown = self._other(rng, asked, forbidden)
            others.append(self._segment(rng, shown))
            segments.append(others[-1])
        return segments

    def _other(self, rng: np.random.Generator, asked: int, forbidden: set[int]) -> tuple[int, ...]:
        """A concept that shares no class with what is asked for; none where none was found."""
        if rng.random() < self._config.hard:
            likeness = self._vocabulary.embeddings @ self._vocabulary.embeddings[asked]
            nearest = min(_HARD_NEGATIVES, len(likeness) - 1)
            candidates = rng.permutation(np.argpartition(-likeness, nearest)[:nearest])
        else:
            candidates = np.array([self._draw(rng) for _ in range(_ATTEMPTS)])
        for candidate in candidates:
            if not forbidden.intersection(self._concept(int(candidate)).classes):
                return (int(candidate),)
        return ()

    def _segment(self, rng: np.random.Generator, concepts: tuple[int, ...]) -> Segment:
        classes: list[int] = []
        strengths: list[float] = []
        for index in concepts:
            concept = self._concept(index)
            shown = self._shown(rng, concept)
            strength = rng.uniform(*self._config.strength) / len(concepts) ** 0.5
            shares = rng.dirichlet(np.full(len(shown), 2.0)) ** 0.5
            for member, share in zip(shown, shares, strict=True):
                classes.append(int(member))
                strengths.append(float(strength * share))
                # Pictures resemble the subject's neighbours too, some more than others.
                for near in self._mistaken(rng, int(member)):
                    classes.append(near)
                    strengths.append(float(strength * share * rng.uniform(0.05, 0.55)))
        for _ in range(int(rng.integers(0, 4))):
            classes.append(int(rng.integers(len(self._prototypes.directions))))
            strengths.append(float(rng.uniform(0.3, 1.6)))
        if not classes:
            classes, strengths = [0], [0.0]
        return Segment(np.array(classes), np.array(strengths, dtype=np.float32))

    def _mistaken(self, rng: np.random.Generator, member: int) -> list[int]:
        """Classes that a picture of one class resembles as well."""
        near = self._prototypes.neighbours[member][: int(rng.integers(2, 20))]
        count = min(len(near), int(rng.integers(1, 7)))
        return [int(index) for index in rng.choice(near, size=count, replace=False)]

    def _shown(self, rng: np.random.Generator, concept: Concept) -> NDArray[np.int64]:
        """The classes that one segment shows of a concept."""
        if concept.relation in {"name", "synonym"}:
            return np.array(concept.classes)
        most = {"kind": 2, "scene": 4, "related": 4}[concept.relation]
        size = min(len(concept.classes), int(rng.integers(1, most + 1)))
        return rng.choice(
            concept.classes,
            size=size,
            replace=False,
            p=np.array(concept.weights) / np.sum(concept.weights),
        )
