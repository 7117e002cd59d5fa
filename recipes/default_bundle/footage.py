"""Frames that behave like footage: clutter, camera motion, light, cuts and cross-fades."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vtloc.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from recipes.default_bundle.prototypes import ClassPrototypes


@dataclass(frozen=True, slots=True, kw_only=True)
class FootageConfig:
    """How frames come about; lengths are those of pooled activations.

    Attributes:
        fixed_camera: Probability that every segment keeps one background.
        fade: Probability that a boundary is a cross-fade rather than a cut.
        hidden: Probability that a segment's subject is covered or blurred now and then.
        structured: Shortest and longest clutter that classes share.
        plain: Shortest and longest clutter that no class sees.
        drift: Least and most of the clutter that changes in the course of a segment.
    """

    fixed_camera: float = 0.25
    fade: float = 0.35
    hidden: float = 0.3
    structured: tuple[float, float] = (5.0, 11.0)
    plain: tuple[float, float] = (6.0, 11.0)
    drift: tuple[float, float] = (0.1, 0.85)

    def __post_init__(self) -> None:
        for name in ("fixed_camera", "fade", "hidden"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigurationError(f"{name} must be from 0 to 1", where="footage")
        for name in ("structured", "plain", "drift"):
            low, high = getattr(self, name)
            if not 0 <= low <= high:
                raise ConfigurationError(
                    f"{name} must be a range of numbers from 0 up", where="footage"
                )
        if self.drift[1] > 1:
            raise ConfigurationError("drift is a share, at most 1", where="footage")


@dataclass(frozen=True, slots=True)
class Segment:
    """What one stretch shows.

    Attributes:
        classes: The classes that appear, the subject's and what it is mistaken for.
        strengths: How strongly, float32 like ``classes``.
    """

    classes: NDArray[np.int64]
    strengths: NDArray[np.float32]


def render(
    prototypes: ClassPrototypes,
    spans: Sequence[tuple[int, int]],
    segments: Sequence[Segment],
    rng: np.random.Generator,
    config: FootageConfig,
) -> NDArray[np.float32]:
    """Pooled activations of every frame.

    Args:
        prototypes: Where classes lie.
        spans: First and last frame of each segment, in order and without gaps.
        segments: What each shows.
        rng: Where every choice comes from.
        config: How frames come about.

    Returns:
        float32 [T, 1280].
    """
    structured, plain = rng.uniform(*config.structured), rng.uniform(*config.plain)
    drift = rng.uniform(*config.drift)
    kept = rng.uniform(0.6, 0.98) if rng.random() < config.fixed_camera else rng.uniform(0, 0.4)
    background = prototypes.clutter(rng, 1, structured=structured, plain=plain)
    parts: list[NDArray[np.float32]] = []
    for (first, last), segment in zip(spans, segments, strict=True):
        length = last - first + 1
        own = prototypes.clutter(rng, 1, structured=structured, plain=plain)
        fresh = prototypes.clutter(rng, length, structured=structured, plain=plain)
        still = np.sqrt(kept) * background + np.sqrt(1 - kept) * own
        moving = _remembering(fresh, rng.uniform(0.3, 0.97))
        presence = _presence(rng, length, len(segment.classes), hidden=config.hidden)
        parts.append(
            prototypes.mean
            + prototypes.appearance(segment.classes, segment.strengths * presence)
            + np.sqrt(1 - drift) * still
            + np.sqrt(drift) * moving
        )
    pooled = np.concatenate(parts).astype(np.float32)
    for first, _ in spans[1:]:
        if rng.random() < config.fade:
            cross_fade(pooled, first, int(rng.integers(1, 3)))
    return pooled


def _remembering(fresh: NDArray[np.float32], memory: float) -> NDArray[np.float32]:
    """Clutter that changes as a camera pans: each frame remembers the one before."""
    moving = fresh.copy()
    for frame in range(1, len(fresh)):
        moving[frame] = memory * moving[frame - 1] + np.sqrt(1 - memory**2) * fresh[frame]
    return moving


def _presence(
    rng: np.random.Generator, length: int, classes: int, *, hidden: float
) -> NDArray[np.float32]:
    """How strongly each class shows over time, [length, classes], around one."""
    walk = np.cumsum(rng.standard_normal((length, classes)), axis=0) * rng.uniform(0, 0.12)
    presence = np.exp(walk - walk.mean(axis=0) + 0.15 * rng.standard_normal((length, classes)))
    if rng.random() < hidden:
        covered = rng.random((length, 1)) < 0.15
        presence = np.where(covered, presence * rng.uniform(0, 0.5), presence)
    bounded: NDArray[np.float32] = np.clip(presence, 0, 2).astype(np.float32)
    return bounded


def cross_fade(pooled: NDArray[np.float32], boundary: int, reach: int) -> None:
    """Blend the frames around a boundary in place; the boundary itself stays where it is.

    Args:
        pooled: [T, width].
        boundary: First frame of the later segment.
        reach: Frames on each side that take part.
    """
    first, last = max(0, boundary - reach), min(len(pooled), boundary + reach)
    before, after = pooled[first].copy(), pooled[last - 1].copy()
    share = ((np.arange(first, last) - first + 0.5) / (last - first)).astype(np.float32)
    pooled[first:last] = (1 - share)[:, None] * before + share[:, None] * after
