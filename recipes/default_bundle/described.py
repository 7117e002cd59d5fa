"""Timelines of described frames: each frame is a mixture of sentence vectors, no picture.

What counts is that the curve of cosines between frames and query looks as it does in real video:
a moment holds several shots, some of which hardly show what it is about; other shots resemble it;
neighbours resemble each other, and so do all frames of a video.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vtloc.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from recipes.default_bundle.topics import Topic


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedConfig:
    """What timelines of described frames hold; probabilities unless said otherwise.

    Attributes:
        share: Share of these timelines among all that training sees.
        topics: How many topics are written, and their sentences encoded, for a whole training.
        scene: Median length of a scene, frames.
        scene_spread: Standard deviation of the logarithm of a scene's length.
        shot: Mean length of a shot, frames; a scene has one or more.
        answer: A scene shows what is asked for.
        elsewhere: A scene comes from another topic.
        clarity: Least and most of a frame that its own scene makes up; the rest is whatever else
            happens to be in the picture.
        unclear: Share of the clarity that a shot may lose.
        stray: A frame shows nothing of its scene.
        absent: No scene shows what is asked for.
        likeness: Most of what all frames of a video have in common, as a length beside frames
            of length one.
    """

    share: float = 0.5
    topics: int = 500
    scene: float = 7.0
    scene_spread: float = 1.0
    shot: float = 3.0
    answer: float = 0.27
    elsewhere: float = 0.15
    clarity: tuple[float, float] = (0.13, 0.53)
    unclear: float = 0.8
    stray: float = 0.08
    absent: float = 0.1
    likeness: float = 0.15

    def __post_init__(self) -> None:
        for name in ("share", "answer", "elsewhere", "unclear", "stray", "absent"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigurationError(f"{name} must be between 0 and 1", where="described")
        if not 0 <= self.clarity[0] <= self.clarity[1] <= 1:
            raise ConfigurationError("clarity must be a range within 0 and 1", where="described")
        if self.topics < 2 or self.scene < 1 or self.shot < 1:
            raise ConfigurationError(
                "topics must be at least 2, scene and shot at least 1", where="described"
            )
        if self.scene_spread < 0 or self.likeness < 0:
            raise ConfigurationError(
                "scene_spread and likeness must not be negative", where="described"
            )


@dataclass(frozen=True, slots=True)
class DescribedTimeline:
    """A video that is described, and the sentence that asks for a part of it.

    Attributes:
        frames: Vectors in the sentences' space, float32 [T, Ds], of length one.
        sentence: The query.
        moments: First and last frame of each stretch that answers it; empty where none does.
    """

    frames: NDArray[np.float32]
    sentence: str
    moments: tuple[tuple[int, int], ...]


class Describer:
    """Composes timelines of described frames.

    Args:
        topics: What they are about.
        embed: Gives sentence vectors of length one, float32 [sentences, Ds].
        surroundings: What may be in a picture besides what other topics describe, vectors of length
            one, [things, Ds].
        config: What they hold.
    """

    def __init__(
        self,
        topics: Sequence[Topic],
        embed: Callable[[tuple[str, ...]], NDArray[np.float32]],
        surroundings: NDArray[np.float32],
        config: DescribedConfig,
    ) -> None:
        self._topics = topics
        self._config = config
        sentences = tuple(
            sorted({text for topic in topics for event in topic for text in event.descriptions})
        )
        self._vectors = embed(sentences)
        self._surroundings = np.concatenate([surroundings, self._vectors])
        places = {text: index for index, text in enumerate(sentences)}
        self._places = np.array(
            [[[places[text] for text in event.descriptions] for event in topic] for topic in topics]
        )

    def compose(self, rng: np.random.Generator, frames: int) -> DescribedTimeline:
        """Compose one timeline.

        Args:
            rng: Where every choice comes from.
            frames: T.
        """
        topic = int(rng.integers(len(self._topics)))
        events = self._places.shape[1]
        asked = int(rng.integers(events))
        scenes = self._cut(rng, frames)
        absent = rng.random() < self._config.absent
        shown = [self._event(rng, topic, asked, absent=absent) for _ in scenes]
        if not absent and (topic, asked) not in shown:
            shown[int(rng.integers(len(scenes)))] = (topic, asked)
        # What the video as a whole is like, whatever happens in it.
        common = _unit(self._vectors[self._places[topic, :4, 0]].mean(axis=0))
        common = rng.uniform(0, self._config.likeness) * common
        parts = [
            self._scene(rng, self._places[event], last - first + 1)
            for (first, last), event in zip(scenes, shown, strict=True)
        ]
        answers = [
            scene for scene, event in zip(scenes, shown, strict=True) if event == (topic, asked)
        ]
        queries = self._topics[topic][asked].queries
        return DescribedTimeline(
            _unit(_unit(np.concatenate(parts)) + common).astype(np.float32),
            queries[int(rng.integers(len(queries)))],
            joined(answers),
        )

    def _cut(self, rng: np.random.Generator, frames: int) -> list[tuple[int, int]]:
        """First and last frames of the scenes, in order."""
        config, scenes, first = self._config, [], 0
        # Some videos are cut faster than others, and some are sampled more finely.
        median = config.scene * np.exp(rng.normal(0, 0.4))
        while first < frames:
            length = round(median * np.exp(rng.normal(0, config.scene_spread)))
            last = min(frames, first + max(1, length)) - 1
            scenes.append((first, last))
            first = last + 1
        return scenes

    def _event(
        self, rng: np.random.Generator, topic: int, asked: int, *, absent: bool
    ) -> tuple[int, int]:
        """What a scene shows: a topic and an event of it."""
        draw, events = rng.random(), self._places.shape[1]
        if draw < self._config.answer and not absent:
            return topic, asked
        if draw < self._config.answer + self._config.elsewhere:
            other = (topic + rng.integers(1, len(self._topics))) % len(self._topics)
            return int(other), int(rng.integers(events))
        return topic, int((asked + rng.integers(1, events)) % events)

    def _scene(
        self, rng: np.random.Generator, places: NDArray[np.int64], length: int
    ) -> NDArray[np.float64]:
        """The frames of a scene, [length, Ds], not yet of length one."""
        config, vectors = self._config, self._vectors
        shot = np.cumsum(rng.random(length) < 1 / config.shot)
        shots = int(shot[-1]) + 1
        clarity = rng.uniform(*config.clarity)
        clarities = clarity * (1 - config.unclear * rng.random(shots) ** 2)
        things = self._surroundings
        surroundings = things[rng.integers(len(things), size=shots)]
        about = vectors[places[rng.integers(len(places), size=shots)]]
        about = 0.5 * about[shot] + 0.5 * vectors[places[rng.integers(len(places), size=length)]]
        beside = 0.5 * surroundings[shot] + 0.5 * things[rng.integers(len(things), size=length)]
        clear = (clarities[shot] * (rng.random(length) >= config.stray))[:, None]
        frames: NDArray[np.float64] = clear * about + (1 - clear) * beside
        return frames


def joined(spans: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Spans in order, neighbours that touch made one."""
    together: list[tuple[int, int]] = []
    for first, last in spans:
        if together and together[-1][1] + 1 == first:
            together[-1] = (together[-1][0], last)
        else:
            together.append((first, last))
    return tuple(together)


def _unit(vectors: NDArray[np.floating]) -> NDArray[np.floating]:
    scaled: NDArray[np.floating] = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return scaled
