"""What a run learns from and is judged by: annotations, and the features of their videos."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from vtloc.annotations import Split, filter_examples, read_split
from vtloc.errors import ConfigurationError
from vtloc.features.sources import JoinedFrames, open_frames, open_tokens
from vtloc.model.samples import StoredSamples
from vtloc_runtime.errors import FeatureError

if TYPE_CHECKING:
    from vtloc.features.sources import FrameSource, TokenSource


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

    def beside(self, folder: Path, *, given: set[str]) -> DataConfig:
        """The same with absolute paths: what a file says is relative to the file.

        Args:
            folder: The file's folder.
            given: Fields that the command line sets, which are relative to where it runs.
        """

        def place(field_name: str, path: str) -> str:
            return str((Path() if field_name in given else folder).absolute() / path)

        return replace(
            self,
            train=place("train", self.train),
            validation=place("validation", self.validation),
            durations=None if self.durations is None else place("durations", self.durations),
            frames=tuple(replace(entry, path=place("frames", entry.path)) for entry in self.frames),
            tokens=replace(self.tokens, path=place("tokens", self.tokens.path)),
        )


@dataclass(frozen=True, slots=True)
class TrainingData:
    """The data of a run, opened.

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


def open_data(
    data: DataConfig,
    *,
    seed: int,
    frames: FrameSource | None = None,
    tokens: TokenSource | None = None,
) -> TrainingData:
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
    train, without_train = with_features(
        StoredSamples(examples, frames, tokens, seed=seed),
        learnt.title,
        skip_missing=data.skip_missing,
    )
    validation, without_validation = with_features(
        StoredSamples(judged.examples, frames, tokens), judged.title, skip_missing=data.skip_missing
    )
    return TrainingData(
        frames,
        tokens,
        train,
        validation,
        judged,
        (*notes, *without_train, *without_validation),
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


def with_features(
    samples: StoredSamples, title: str, *, skip_missing: bool
) -> tuple[StoredSamples, tuple[str, ...]]:
    """The samples whose features are stored, and a note for people if others are left out.

    Args:
        samples: All samples.
        title: Name of their split.
        skip_missing: Whether samples without features are left out, or an error.

    Raises:
        FeatureError: Features are missing, or none are there.
    """
    missing = samples.missing()
    if not missing:
        return samples, ()
    note = f"{title}: {len(missing)} of {len(samples)} queries have no features"
    if not skip_missing or len(missing) == len(samples):
        raise FeatureError(
            f"{note}, the first is {missing[0].id} in {missing[0].video}",
            remedy="Extract them with vtloc features, or leave such queries out: --skip-missing, "
            "or skip_missing in the configuration",
        )
    return samples.without(missing), (f"{note} and are left out",)
