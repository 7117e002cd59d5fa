"""The networks that the study compares, and how each is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from vtloc.training import TrainingConfig

Choices: TypeAlias = Mapping[str, object]
"""Fields of `LocalizerConfig` that an arm sets."""

_PAPER: Choices = {
    "fusion": "additive",
    "similarity_channels": False,
    "blocks_after_fusion": 0,
    "transformer_layers": 1,
}

LADDER: dict[str, Choices] = {
    "paper: transformer only": {**_PAPER, "multiscale": False, "routing": False},
    "paper: + multi-scale": {**_PAPER, "multiscale": True, "routing": False},
    "paper: + capsules": {**_PAPER, "multiscale": False, "routing": True},
    "paper: multi-scale + capsules": {**_PAPER, "multiscale": True, "routing": True},
}
"""The paper's table 3, with nothing of this project's but routing that sees the sentence."""

WITHOUT = "vtloc: no routing"
FULL = "vtloc: routing by the sentence (8)"

NETWORKS: dict[str, Choices] = {
    WITHOUT: {"routing": False},
    FULL: {"routing": True},
    "vtloc: tokens shared out among frames": {"routing": True, "coupling": "frames"},
    "vtloc: many to many": {"routing": True, "coupling": "independent"},
    "vtloc: agreement as printed (11)": {"routing": True, "agreement": "printed"},
    "vtloc: agreement u.v alone": {"routing": True, "agreement": "votes"},
}
"""This project's network without routing, and with each form of it."""

PARTS: dict[str, Choices] = {
    "vtloc: no multi-scale encoder": {"routing": True, "multiscale": False},
    "vtloc: no block after the fusion": {"routing": True, "blocks_after_fusion": 0},
    "vtloc: no similarity channels": {"routing": True, "similarity_channels": False},
    "vtloc: additive fusion": {"routing": True, "fusion": "additive"},
}
"""The full network less one part."""

ARMS: dict[str, Choices] = {**NETWORKS, **LADDER, **PARTS}

SCHEDULES: dict[str, TrainingConfig] = {
    "short": TrainingConfig(
        epochs=3,
        batch_size=16,
        learning_rate=1e-3,
        warmup_steps=30,
        schedule="cosine",
        gradient_clip=1.0,
        patience=3,
        precision="bf16",
    ),
    "paper": TrainingConfig(epochs=50, patience=50, precision="bf16"),
    "long": TrainingConfig(epochs=150, patience=150, learning_rate=1e-3, precision="bf16"),
}
"""``paper`` is Adam at 1e-4, batch 32, 50 epochs; ``short`` takes an eighth of its steps, ``long``
three times as many at ten times the rate."""
