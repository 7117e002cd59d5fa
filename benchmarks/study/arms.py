"""The networks that the study of the localizer's parts compares, and how each is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchmarks.study.sets import FRAMES
from recipes.default_bundle.recipe import Recipe
from vtloc.training import TrainingConfig

if TYPE_CHECKING:
    from recipes.default_bundle.composition import CompositionConfig

FULL, WITHOUT = "full: routing by the sentence", "no routing"
NEITHER = "neither routing nor multi-scale"

# The recipe itself routes nothing, so every arm says that it does.
ARMS: dict[str, dict[str, object]] = {
    FULL: {"routing": True},
    WITHOUT: {"routing": False},
    "agreement as printed (11)": {"routing": True, "agreement": "printed"},
    "agreement u.v alone": {"routing": True, "agreement": "votes"},
    "over frames, not tokens": {"routing": True, "coupling": "frames"},
    "many to many": {"routing": True, "coupling": "independent"},
    "one capsule of 768": {"routing": True, "capsules": 1, "capsule_dim": 768},
    "additive fusion": {"routing": True, "fusion": "additive"},
    "no temporal block after fusion": {"routing": True, "blocks_after_fusion": 0},
    "no similarity channels": {"routing": True, "similarity_channels": False},
    "no multi-scale encoder": {"routing": True, "multiscale": False},
    "paper as printed": {
        "routing": True,
        "agreement": "printed",
        "fusion": "additive",
        "blocks_after_fusion": 0,
        "similarity_channels": False,
    },
    NEITHER: {"routing": False, "multiscale": False},
}
FORMS = ("over frames, not tokens", "many to many", "agreement as printed (11)")
ROUTINGS = (FULL, *FORMS, "agreement u.v alone", "one capsule of 768", NEITHER)
"""Held against no routing; the other arms against the full network."""
LADDER: dict[str, dict[str, object]] = {
    "ladder: transformer only": {"multiscale": False, "routing": False},
    "ladder: + multi-scale": {"multiscale": True, "routing": False},
    "ladder: + capsule": {"multiscale": False, "routing": True},
    "ladder: multi-scale + capsule": {"multiscale": True, "routing": True},
}
LADDER_REST = {
    "fusion": "additive",
    "similarity_channels": False,
    "blocks_after_fusion": 0,
    "transformer_layers": 1,
}

RECIPE = Recipe.read()


@dataclass(frozen=True, slots=True)
class Study:
    """What one table compares.

    Attributes:
        arms: Networks by name, as choices over the recipe's.
        main: How many of the first arms carry the claim and get every seed; others get one.
        training: The schedule.
        samples: Timelines an epoch.
        kept: Epochs composed; longer trainings see them again.
        composition: What the timelines of training hold.
    """

    arms: Mapping[str, Mapping[str, object]]
    main: int
    training: TrainingConfig
    samples: int
    kept: int
    composition: CompositionConfig


SHORT = replace(RECIPE.training, epochs=4, patience=4)
STUDIES = {
    "parts": Study(ARMS, 7, SHORT, 800, 4, replace(RECIPE.composition, frames=FRAMES)),
    "order": Study(
        {arm: ARMS[arm] for arm in (FULL, WITHOUT, *FORMS)},
        4,
        SHORT,
        800,
        4,
        replace(RECIPE.composition, frames=FRAMES, repeated=0.6, ordered=0.6),
    ),
    "paper": Study(
        {name: {**LADDER_REST, **choices} for name, choices in LADDER.items()}
        | {arm: ARMS[arm] for arm in (FULL, WITHOUT, "many to many")},
        7,
        TrainingConfig(epochs=50, patience=50),
        256,
        10,
        replace(RECIPE.composition, frames=FRAMES),
    ),
}
