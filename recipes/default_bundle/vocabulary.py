"""What can be asked for: names, synonyms, kinds, scenes and related words, with their classes."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from vtloc.encoders.imagenet_labels import (
    class_embeddings,
    class_names,
    class_synonyms,
    embed_texts,
)
from vtloc.errors import ConfigurationError
from vtloc_runtime.errors import MissingExtraError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Relation = Literal["name", "synonym", "kind", "scene", "related"]
Split = Literal["training", "held-out"]

HELD_OUT_EVERY = 10
"""One class in this many is kept out of training, with its name and synonyms."""

_HELD_OUT_WORDS_EVERY = 7
_RELATED_LIMIT = 3000
_RELATED_SIMILARITY = 0.45
_RELATED_CLASSES = 6


@dataclass(frozen=True, slots=True)
class Concept:
    """Something that a sentence can name and a frame can show.

    Attributes:
        phrase: The words, without an article.
        classes: Positions of the classes that show it.
        weights: How typical each class is of it, summing to one.
        relation: How the words relate to the classes.
    """

    phrase: str
    classes: tuple[int, ...]
    weights: tuple[float, ...]
    relation: Relation


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The concepts of one split.

    Attributes:
        concepts: Every concept, grouped by relation.
        embeddings: The phrases in the sentences' space, float32 [concepts, 384].
    """

    concepts: tuple[Concept, ...]
    embeddings: NDArray[np.float32]

    def related(self, relation: Relation) -> NDArray[np.int64]:
        """Positions of the concepts of one relation."""
        return np.array(
            [i for i, concept in enumerate(self.concepts) if concept.relation == relation],
            dtype=np.int64,
        )


def held_out_classes() -> frozenset[int]:
    """The classes that are never the subject of a training timeline, nor named in one."""
    return frozenset(range(3, len(class_names()), HELD_OUT_EVERY))


@cache
def load_vocabulary(split: Split) -> Vocabulary:
    """Gather the concepts of a split; phrases and classes are never in both.

    Raises:
        MissingExtraError: The package with the class names or dictionary words is missing.
    """
    every = [*_names(), *_synonyms(), *_kinds_and_scenes()]
    chosen = [concept for concept in every if _split(concept) == split]
    if split == "training":
        # One word may name two classes of which one is held out: then it is held out.
        kept_out = {c.phrase.lower() for c in every if _split(c) == "held-out"}
        chosen += _related({concept.phrase.lower() for concept in every})
        chosen = [
            known
            for concept in chosen
            if concept.phrase.lower() not in kept_out and (known := _without_held_out(concept))
        ]
    embeddings = embed_texts(tuple(concept.phrase for concept in chosen)).numpy()
    return Vocabulary(tuple(chosen), embeddings)


def _without_held_out(concept: Concept) -> Concept | None:
    """A concept shown by training's classes only; None where that leaves none."""
    held_out = held_out_classes()
    kept = [
        (index, weight)
        for index, weight in zip(concept.classes, concept.weights, strict=True)
        if index not in held_out
    ]
    if not kept:
        return None
    total = sum(weight for _, weight in kept)
    return replace(
        concept,
        classes=tuple(index for index, _ in kept),
        weights=tuple(weight / total for _, weight in kept),
    )


def _split(concept: Concept) -> Split:
    """Which split a concept belongs to."""
    held_out = held_out_classes()
    if concept.relation in {"name", "synonym"}:
        if concept.classes[0] in held_out:
            return "held-out"
        is_held_out_word = concept.relation == "synonym" and _is_held_out_word(concept.phrase)
        return "held-out" if is_held_out_word else "training"
    if _is_held_out_word(concept.phrase):
        return "held-out"
    return "training"


def _is_held_out_word(phrase: str) -> bool:
    # A sum of code points rather than hash(), which differs from process to process.
    return sum(map(ord, phrase)) % _HELD_OUT_WORDS_EVERY == 0


def _names() -> list[Concept]:
    return [Concept(name, (index,), (1.0,), "name") for index, name in enumerate(class_names())]


def _synonyms() -> list[Concept]:
    names = class_names()
    return [
        Concept(lemma, (index,), (1.0,), "synonym")
        for index, lemmas in enumerate(class_synonyms())
        for lemma in lemmas
        if lemma.lower() != names[index].lower()
    ]


def _kinds_and_scenes() -> list[Concept]:
    table = tomllib.loads(files(__package__).joinpath("concepts.toml").read_text("utf-8"))
    sections: tuple[tuple[Relation, str], ...] = (("kind", "kinds"), ("scene", "scenes"))
    return [
        Concept(phrase, classes, (1 / len(classes),) * len(classes), relation)
        for relation, section in sections
        for entry in table[section]
        for classes in [parse_classes(entry["classes"])]
        for phrase in entry["names"]
    ]


def parse_classes(text: str) -> tuple[int, ...]:
    """Read ``"3 7-9"`` as (3, 7, 8, 9).

    Raises:
        ConfigurationError: It is not a list of positions and ranges.
    """
    classes: set[int] = set()
    for part in text.split():
        first, dash, last = part.partition("-")
        try:
            classes.update(range(int(first), int(last if dash else first) + 1))
        except ValueError as error:
            raise ConfigurationError(
                f"{part!r} is neither a class nor a range of classes", where="concepts.toml"
            ) from error
    if not classes or not classes <= set(range(len(class_names()))):
        raise ConfigurationError(f"no such classes: {text!r}", where="concepts.toml")
    return tuple(sorted(classes))


def _related(taken: set[str]) -> list[Concept]:
    """Dictionary words for things that the classifier was never taught.

    A picture of such a thing looks, to the classifier, like a blend of what is near it in
    meaning; words that are near nothing are left out.
    """
    held_out = sorted(held_out_classes())
    phrases = [lemma for lemma in _dictionary() if lemma.lower() not in taken]
    similarity = embed_texts(tuple(phrases)) @ class_embeddings().T
    near = similarity.topk(_RELATED_CLASSES, dim=1)
    weights = torch.softmax(near.values / 0.05, dim=1)
    concepts: list[Concept] = []
    for phrase, score, classes, shares in zip(
        phrases, near.values[:, 0].tolist(), near.indices.tolist(), weights.tolist(), strict=True
    ):
        if score >= _RELATED_SIMILARITY and classes[0] not in held_out:
            concepts.append(Concept(phrase, tuple(classes), tuple(shares), "related"))
    return concepts


def _dictionary() -> list[str]:
    """Every so many-th noun of WordNet that names something that can be pictured."""
    try:
        from timm.data.imagenet_info import ImageNetInfo
    except ImportError as error:
        raise MissingExtraError.for_package(
            "timm", extra="export", purpose="drawing words for the timelines"
        ) from error
    entries = ImageNetInfo("imagenet-12k").label_descriptions()
    nouns = sorted({entry.split(", ")[0] for entry in entries})
    return nouns[:: max(1, len(nouns) // _RELATED_LIMIT)]
