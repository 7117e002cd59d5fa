"""The default bundle's recipe: one file that holds every choice."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import msgspec

from recipes.default_bundle.composition import CompositionConfig
from recipes.default_bundle.described import DescribedConfig
from recipes.default_bundle.footage import FootageConfig
from vtloc.config_files import configure, read_toml
from vtloc.errors import ConfigurationError
from vtloc.model import LocalizerConfig, LossConfig
from vtloc.training import TrainingConfig
from vtloc_runtime.bundle.manifest import Decoding, Windows

if TYPE_CHECKING:
    from collections.abc import Mapping

_Entry = TypeVar("_Entry", Decoding, Windows)

_SECTIONS = (
    "training",
    "losses",
    "localizer",
    "composition",
    "footage",
    "described",
    "timelines",
    "decoding",
    "windows",
)


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
        described: What timelines of described frames hold.
        timelines: How many.
        decoding: How the bundle answers.
        windows: How the bundle cuts longer videos: as long as the longest timeline.
    """

    name: str
    training: TrainingConfig
    losses: LossConfig
    localizer: Mapping[str, Any]
    composition: CompositionConfig
    footage: FootageConfig
    described: DescribedConfig
    timelines: TimelineCounts
    decoding: Decoding
    windows: Windows

    def __post_init__(self) -> None:
        if self.windows.frames > self.composition.frames[1]:
            raise ConfigurationError(
                f"windows of {self.windows.frames} frames are longer than any timeline of "
                f"training ({self.composition.frames[1]})",
                where="windows",
                remedy="Train on longer timelines, or cut shorter windows",
            )

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
            described=configure(DescribedConfig, section["described"], where=f"{place}: described"),
            timelines=configure(TimelineCounts, section["timelines"], where=f"{place}: timelines"),
            decoding=_entry(Decoding, section["decoding"], f"{place}: decoding"),
            windows=_entry(Windows, section["windows"], f"{place}: windows"),
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


def _entry(kind: type[_Entry], values: Mapping[str, Any], where: str) -> _Entry:
    try:
        return msgspec.convert(dict(values), kind)
    except msgspec.ValidationError as error:
        raise ConfigurationError(str(error), where=where) from error
