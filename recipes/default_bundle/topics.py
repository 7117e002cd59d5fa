"""Topics: a few events around the same people and places, in sentences of the project's own."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from recipes.default_bundle.vocabulary import Split

EVENTS = 9
"""Events of a topic."""

_DESCRIPTIONS, _QUERIES = 4, 2
_PREPOSITIONS = {
    *("after", "along", "around", "by", "down", "for", "from", "in", "into", "off", "on", "over"),
    *("through", "under", "up", "with"),
}
_SAME_SUBJECT, _SAME_PLACE, _SIGHTS = 0.75, 0.6, 0.12


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happens in a video.

    Attributes:
        descriptions: What single frames of it may be described as.
        queries: Sentences that ask for it.
    """

    descriptions: tuple[str, ...]
    queries: tuple[str, ...]


Topic: TypeAlias = tuple[Event, ...]
"""The events of one video: they share people and places, so that they resemble each other."""


def write_topics(rng: np.random.Generator, count: int, *, split: Split) -> tuple[Topic, ...]:
    """Write topics of `EVENTS` events each.

    Args:
        rng: Where every choice comes from.
        count: How many.
        split: Whose wording is used; the splits share none.
    """
    return tuple(_topic(rng, split) for _ in range(count))


def _topic(rng: np.random.Generator, split: Split) -> Topic:
    words = _words()
    wording = words["wording"][split]
    subjects = [_pick(rng, words["subjects"]) for _ in range(2)]
    places = [_pick(rng, words["places"]) for _ in range(2)]
    outfit = _pick(rng, words["outfits"])
    events = []
    for _ in range(EVENTS):
        place = places[int(rng.random() >= _SAME_PLACE)]
        if rng.random() < _SIGHTS:
            facts = {"sight": _pick(rng, words["sights"]), "place": place}
            described, asked = wording["seen"], wording["sought"]
        else:
            does, doing, objects = words["actions"][int(rng.integers(len(words["actions"])))]
            facts = {
                "who": subjects[int(rng.random() >= _SAME_SUBJECT)],
                "outfit": outfit,
                "place": place,
                "does": does,
                "doing": doing,
                "what": _pick(rng, objects.split("|")),
            }
            described, asked = wording["described"], wording["asked"]
            if facts["what"].split()[0] not in _PREPOSITIONS:
                described = [*described, *wording["described_things"]]
                asked = [*asked, *wording["asked_things"]]
        events.append(
            Event(
                tuple(_pick(rng, described).format(**facts) for _ in range(_DESCRIPTIONS)),
                tuple(_capital(rng, _pick(rng, asked).format(**facts)) for _ in range(_QUERIES)),
            )
        )
    return tuple(events)


def _capital(rng: np.random.Generator, sentence: str) -> str:
    """Half of all queries begin with a capital."""
    return sentence[:1].upper() + sentence[1:] if rng.random() < 0.5 else sentence


def _pick(rng: np.random.Generator, words: Sequence[str]) -> str:
    return words[int(rng.integers(len(words)))]


@cache
def _words() -> dict[str, Any]:
    return tomllib.loads(files(__package__).joinpath("topics.toml").read_text("utf-8"))
