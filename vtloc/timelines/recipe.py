"""The default bundle's recipe: one file that holds every choice."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Self

from vtloc.configuration import configure, read_toml
from vtloc.model import LocalizerConfig, LossConfig
from vtloc.timelines.composition import CompositionConfig
from vtloc.timelines.footage import FootageConfig
from vtloc.training import TrainingConfig
from vtloc_runtime.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_SECTIONS = ("training", "losses", "localizer", "composition", "footage", "timelines")


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineCounts:
    """How many timelines are composed.

    Attributes:
        samples: In an epoch of training.
        validation: Of concepts and sentences kept out of training, after each epoch.
    """

    samples: int = 1600
    validation: int = 160

    def __post_init__(self) -> None:
        if self.samples < 1 or self.validation < 1:
            raise ConfigurationError("counts must be at least 1", where="timelines")


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides the default bundle's weights.

    Attributes:
        name: For tables and metadata.
        training: How long and how fast.
        losses: What is minimized.
        localizer: The network, less the widths that the encoders give; plain values.
        composition: What timelines hold.
        footage: How their frames come about.
        timelines: How many.
    """

    name: str
    training: TrainingConfig
    losses: LossConfig
    localizer: Mapping[str, Any]
    composition: CompositionConfig
    footage: FootageConfig
    timelines: TimelineCounts

    @classmethod
    def read(cls, path: Path | None = None) -> Self:
        """Read a recipe.

        Args:
            path: A TOML file; None is the default bundle's own.

        Raises:
            ConfigurationError: The file is missing, no TOML, or holds what no recipe does.
        """
        place = path or Path(str(files(__package__).joinpath("recipe.toml")))
        values = read_toml(place)
        if unknown := values.keys() - {"name", *_SECTIONS}:
            raise ConfigurationError(f"unknown sections {sorted(unknown)}", where=place)
        section = {name: values.get(name, {}) for name in _SECTIONS}
        return cls(
            name=str(values.get("name", place.stem)),
            training=configure(TrainingConfig, section["training"], where=f"{place}: training"),
            losses=configure(LossConfig, section["losses"], where=f"{place}: losses"),
            localizer=section["localizer"],
            composition=configure(
                CompositionConfig, section["composition"], where=f"{place}: composition"
            ),
            footage=configure(FootageConfig, section["footage"], where=f"{place}: footage"),
            timelines=configure(TimelineCounts, section["timelines"], where=f"{place}: timelines"),
        )

    def localizer_config(
        self, *, feature_dim: int, token_dim: int, shared_space: tuple[int, int]
    ) -> LocalizerConfig:
        """The network's configuration for given encoders.

        Raises:
            ConfigurationError: The recipe's section holds an unknown field or value.
        """
        widths = {"feature_dim": feature_dim, "token_dim": token_dim, "shared_space": shared_space}
        return LocalizerConfig.from_json({**widths, **self.localizer})
