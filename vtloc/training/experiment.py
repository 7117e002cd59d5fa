"""One file of configuration, and the training run that it describes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vtloc.config_files import configure, read_toml, write_toml
from vtloc.errors import ConfigurationError
from vtloc.model import LocalizerConfig, LossConfig
from vtloc.training import TrainingConfig, TrainingListener, TrainingResult, seeded_network, train
from vtloc.training.data import DataConfig, open_data
from vtloc.training.loop import CHECKPOINT_NAME, METRICS_NAME, STATE_NAME
from vtloc_runtime.system.output_check import check_output

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vtloc.features.sources import FrameSource, TokenSource

CONFIGURATION_NAME = "run.toml"
CURVES_NAME = "curves.png"
_HEADING = "Written by vtloc train."
_FROM_DATA = {"feature_dim", "token_dim"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """A whole run.

    Attributes:
        localizer: Fields of `LocalizerConfig`; widths come from the features.
        losses: What to minimize.
        training: How.
        data: On what; None in the recipes that ship with the project.
    """

    localizer: Mapping[str, Any] = field(default_factory=dict)
    losses: LossConfig = field(default_factory=LossConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    data: DataConfig | None = None

    @classmethod
    def read(cls, name: str | Path, *, data: Mapping[str, Any] | None = None) -> Experiment:
        """Read a configuration.

        Args:
            name: A TOML file, or the name of a recipe that ships with the project (``paper``).
            data: Fields of its ``data`` section to set or replace.

        Raises:
            ConfigurationError: There is none, or it is not valid.
        """
        path = _find(name)
        values = read_toml(path)
        section = {**values.get("data", {}), **(data or {})}
        if unknown := values.keys() - {"localizer", "losses", "training", "data"}:
            raise ConfigurationError(f"unknown sections {', '.join(sorted(unknown))}", where=path)
        localizer = dict(values.get("localizer", {}))
        if wrong := _FROM_DATA & localizer.keys():
            raise ConfigurationError(
                f"{', '.join(sorted(wrong))} come from the features", where=path
            )
        # A dry run, so that a mistake shows before any data is read.
        configure(
            LocalizerConfig,
            {"feature_dim": 1, "token_dim": 1, **localizer},
            where=f"{path} localizer",
        )
        read = configure(DataConfig, section, where=f"{path} data") if section else None
        return cls(
            localizer=localizer,
            losses=configure(LossConfig, values.get("losses", {}), where=f"{path} losses"),
            training=configure(
                TrainingConfig, values.get("training", {}), where=f"{path} training"
            ),
            data=None if read is None else read.beside(path.parent, given=set(data or {})),
        )

    def write(self, path: Path) -> None:
        """Write the configuration, defaults spelled out, so that it can be read again.

        Raises:
            OutputError: The file cannot be written.
        """
        values: dict[str, Any] = {
            "localizer": dict(self.localizer),
            "losses": asdict(self.losses),
            "training": asdict(self.training),
        }
        if self.data is not None:
            values["data"] = asdict(self.data)
        write_toml(path, values, heading=_HEADING)


def localizer_config(
    fields: Mapping[str, Any], frames: FrameSource, tokens: TokenSource
) -> LocalizerConfig:
    """Complete a localizer's configuration by what its features are.

    Args:
        fields: Fields that the experiment sets.
        frames: Their width and shared space count, where the fields do not say.
        tokens: Their width and encoder count; CLIP's sentence is its last token.

    Raises:
        ConfigurationError: A field does not fit the features.
    """
    found: dict[str, Any] = {"feature_dim": frames.dimension, "token_dim": tokens.dimension}
    if tokens.encoder.startswith("open_clip:"):
        found["sentence_pooling"] = "last"
    shared = frames.shared_space
    if shared is not None and shared[1] - shared[0] == tokens.dimension:
        found["shared_space"] = shared
    return LocalizerConfig.from_json({**found, **fields})


def run_experiment(
    experiment: Experiment,
    folder: Path,
    *,
    listener: TrainingListener | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> TrainingResult:
    """Train as a configuration says; ``folder`` gets it as ``run.toml`` beside the checkpoint.

    Args:
        experiment: The configuration, with its data.
        folder: Where everything goes; a run that was cut off there goes on.
        listener: Hears of steps and epochs.
        progress: Called with each note about what was left out.

    Raises:
        ConfigurationError: The configuration names no data.
        VtlocError: As `vtloc.training.data.open_data` and `vtloc.training.train` say.
    """
    if experiment.data is None:
        raise ConfigurationError(
            "the configuration names no data",
            remedy="Add a [data] section, or give --train, --validation, --frames and --tokens",
        )
    check_run_folder(folder)
    opened = open_data(experiment.data, seed=experiment.training.seed)
    for note in opened.notes:
        progress(note)
    config = localizer_config(experiment.localizer, opened.frames, opened.tokens)
    return train(
        seeded_network(config, seed=experiment.training.seed),
        opened.train,
        opened.validation,
        folder=folder,
        visual_encoder=opened.frames.encoder,
        text_encoder=opened.tokens.encoder,
        config=experiment.training,
        losses=experiment.losses,
        metadata={"validation": opened.split.title, "notes": "; ".join(opened.notes)},
        listener=listener,
        # Only a folder that is this run's own gets a new record of how it was made.
        started=lambda: experiment.write(folder / CONFIGURATION_NAME),
    )


def check_run_folder(folder: Path) -> None:
    """Refuse a folder in which a run would replace files that are not a run's.

    Raises:
        OutputError: Such a file is there; it is named.
    """
    if (folder / STATE_NAME).exists():
        # Another run's, or no state at all: reading it tells.
        return
    record = folder / CONFIGURATION_NAME
    check_output(record, ours=lambda content: content.startswith(f"# {_HEADING}".encode()))
    if not record.exists():
        for name in (CHECKPOINT_NAME, METRICS_NAME, CURVES_NAME):
            check_output(folder / name)


def recipes() -> tuple[str, ...]:
    """Names of the recipes that ship with the project."""
    folder = Path(str(files("vtloc.training") / "recipes"))
    return tuple(sorted(file.stem for file in folder.glob("*.toml")))


def _find(name: str | Path) -> Path:
    if str(name) in recipes():
        return Path(str(files("vtloc.training") / "recipes")) / f"{name}.toml"
    path = Path(name)
    if not path.exists():
        raise ConfigurationError(
            "the configuration does not exist",
            where=path,
            remedy=f"Give a TOML file, or one of: {', '.join(recipes())}",
        )
    return path
