"""The default bundle's recipe: one file that holds every choice."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec

from recipes.default_bundle.composition import CompositionConfig
from recipes.default_bundle.footage import FootageConfig
from vtloc.config_files import configure, read_toml
from vtloc.errors import ConfigurationError
from vtloc.model import LocalizerConfig, LossConfig
from vtloc.training import TrainingConfig
from vtloc_runtime.bundle.manifest import Decoding

if TYPE_CHECKING:
    from collections.abc import Mapping

_SECTIONS = ("training", "losses", "localizer", "composition", "footage", "timelines", "decoding")


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineCounts:
    """How many timelines are composed, and what of them is shown.

    Attributes:
        looks: Whether pooled activations are shown beside the meaning. Composed ones differ from
            those of pictures in ways that meaning does not, and a localizer learns to rely on it.
        samples: In an epoch of training.
        validation: Of concepts and sentences kept out of training, after each epoch.
    """

    looks: bool = False
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
        decoding: How the bundle answers.
    """

    name: str
    training: TrainingConfig
    losses: LossConfig
    localizer: Mapping[str, Any]
    composition: CompositionConfig
    footage: FootageConfig
    timelines: TimelineCounts
    decoding: Decoding

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
            decoding=_decoding(section["decoding"], place),
        )

    def localizer_config(
        self,
        *,
        feature_dim: int,
        token_dim: int,
        shared_space: tuple[int, int],
        **choices: Any,
    ) -> LocalizerConfig:
        """The network's configuration for given encoders.

        Args:
            feature_dim: Width of the frame encoder's features.
            token_dim: Width of the text encoder's tokens.
            shared_space: The feature columns that lie in the tokens' space.
            choices: Further fields, over the recipe's own.

        Raises:
            ConfigurationError: The recipe's section holds an unknown field or value.
        """
        widths = {"feature_dim": feature_dim, "token_dim": token_dim, "shared_space": shared_space}
        return LocalizerConfig.from_json({**widths, **self.localizer, **choices})


def _decoding(values: Mapping[str, Any], place: Path) -> Decoding:
    try:
        return msgspec.convert(dict(values), Decoding)
    except msgspec.ValidationError as error:
        raise ConfigurationError(str(error), where=f"{place}: decoding") from error
