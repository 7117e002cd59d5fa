"""One file of configuration, and the training run that it describes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vtloc.annotations import Split, filter_examples, read_split
from vtloc.config_files import configure, read_toml, write_toml
from vtloc.errors import ConfigurationError
from vtloc.features.sources import JoinedFrames, open_frames, open_tokens
from vtloc.model import LocalizerConfig, LossConfig
from vtloc.model.samples import StoredSamples
from vtloc.training import TrainingConfig, TrainingListener, TrainingResult, seeded_network, train
from vtloc.training.loop import CHECKPOINT_NAME, METRICS_NAME, STATE_NAME
from vtloc_runtime.errors import FeatureError
from vtloc_runtime.system.output_check import check_output

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vtloc.features.sources import FrameSource, TokenSource

CONFIGURATION_NAME = "run.toml"
CURVES_NAME = "curves.png"
_HEADING = "Written by vtloc train."
_FROM_DATA = {"feature_dim", "token_dim"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturesConfig:
    """Where one kind of features lies.

    Attributes:
        path: A store of ``vtloc features``, a folder of ``.npz`` files, or an HDF5 file.
        frames_per_second: The rate; only for features made elsewhere.
        encoder: The encoder's name; likewise.
        shared_space: Columns that lie in the sentences' space; likewise.
    """

    path: str
    frames_per_second: float | None = None
    encoder: str | None = None
    shared_space: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """What to learn from and be judged by.

    Attributes:
        train: Annotations to learn from.
        validation: Annotations to be judged by.
        durations: Charades-STA only: where its durations lie.
        minimum_seconds: The paper's filter, applied to training alone: shorter moments and
            inconsistent annotations are left out; 0 filters nothing.
        skip_missing: Whether queries without features are left out, and counted, or an error.
        frames: Frame features; several are joined side by side.
        tokens: Token features.
    """

    train: str
    validation: str
    durations: str | None = None
    minimum_seconds: float = 0.0
    skip_missing: bool = False
    frames: tuple[FeaturesConfig, ...]
    tokens: FeaturesConfig


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
            data=None if read is None else _beside(read, path.parent, given=set(data or {})),
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


@dataclass(frozen=True, slots=True)
class Ingredients:
    """What an experiment's data comes down to.

    Attributes:
        frames: Frame features.
        tokens: Token features.
        train: Samples to learn from.
        validation: Samples to be judged by.
        split: The validation split, for tables.
        notes: What was left out, for people.
    """

    frames: FrameSource
    tokens: TokenSource
    train: StoredSamples
    validation: StoredSamples
    split: Split
    notes: tuple[str, ...]


def gather(
    data: DataConfig,
    *,
    seed: int,
    frames: FrameSource | None = None,
    tokens: TokenSource | None = None,
) -> Ingredients:
    """Read annotations and open features.

    Args:
        data: What to read.
        seed: Seed of the training order.
        frames: Instead of the configured frame features.
        tokens: Instead of the configured token features.

    Raises:
        AnnotationError: An annotation file cannot be read.
        FeatureError: Features are missing.
    """
    frames = frames or open_all_frames(data.frames)
    tokens = tokens or open_tokens(data.tokens.path, encoder=data.tokens.encoder)
    learnt = read_split(data.train, durations=data.durations)
    judged = read_split(data.validation, durations=data.durations)
    notes: list[str] = []
    examples = learnt.examples
    if data.minimum_seconds > 0:
        examples, report = filter_examples(examples, minimum_seconds=data.minimum_seconds)
        notes.append(f"{learnt.title}: {report}")
    train_samples = StoredSamples(examples, frames, tokens, seed=seed)
    validation = StoredSamples(judged.examples, frames, tokens)
    return Ingredients(
        frames,
        tokens,
        _with_features(train_samples, learnt, notes, skip_missing=data.skip_missing),
        _with_features(validation, judged, notes, skip_missing=data.skip_missing),
        judged,
        tuple(notes),
    )


def open_all_frames(sources: tuple[FeaturesConfig, ...]) -> FrameSource:
    """Open frame features; several are joined side by side.

    Raises:
        ConfigurationError: None are given.
        FeatureError: They are missing or differ in rate.
    """
    if not sources:
        raise ConfigurationError("no frame features are given", where="data.frames")
    opened = [
        open_frames(
            source.path,
            frames_per_second=source.frames_per_second,
            encoder=source.encoder,
            shared_space=source.shared_space,
        )
        for source in sources
    ]
    return opened[0] if len(opened) == 1 else JoinedFrames(opened)


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
        VtlocError: As `gather` and `vtloc.training.train` say.
    """
    if experiment.data is None:
        raise ConfigurationError(
            "the configuration names no data",
            remedy="Add a [data] section, or give --train, --validation, --frames and --tokens",
        )
    check_run_folder(folder)
    ingredients = gather(experiment.data, seed=experiment.training.seed)
    for note in ingredients.notes:
        progress(note)
    config = localizer_config(experiment.localizer, ingredients.frames, ingredients.tokens)
    return train(
        seeded_network(config, seed=experiment.training.seed),
        ingredients.train,
        ingredients.validation,
        folder=folder,
        visual_encoder=ingredients.frames.encoder,
        text_encoder=ingredients.tokens.encoder,
        config=experiment.training,
        losses=experiment.losses,
        metadata={"validation": ingredients.split.title, "notes": "; ".join(ingredients.notes)},
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


def _with_features(
    samples: StoredSamples, split: Split, notes: list[str], *, skip_missing: bool
) -> StoredSamples:
    missing = samples.missing()
    if not missing:
        return samples
    note = f"{split.title}: {len(missing)} of {len(samples)} queries have no features"
    if not skip_missing or len(missing) == len(samples):
        raise FeatureError(
            f"{note}, the first is {missing[0].id} in {missing[0].video}",
            remedy="Extract them with vtloc features, or leave such queries out by skip_missing",
        )
    notes.append(f"{note} and are left out")
    return samples.without(missing)


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


def _beside(data: DataConfig, folder: Path, *, given: set[str]) -> DataConfig:
    """Absolute paths: those in a file are relative to it, those of the command line are not."""

    def place(field_name: str, path: str) -> str:
        return str((Path() if field_name in given else folder).absolute() / path)

    return replace(
        data,
        train=place("train", data.train),
        validation=place("validation", data.validation),
        durations=None if data.durations is None else place("durations", data.durations),
        frames=tuple(replace(entry, path=place("frames", entry.path)) for entry in data.frames),
        tokens=replace(data.tokens, path=place("tokens", data.tokens.path)),
    )
