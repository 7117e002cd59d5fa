"""``vtloc train`` and ``vtloc ablate``: a configuration, with what the command line sets."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from vtloc.config_files import configure
from vtloc.training import TrainingConfig
from vtloc.training.experiment import Experiment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def data_section(
    *,
    train_annotations: Path | None,
    validation: Path | None,
    frames: Sequence[Path] | None,
    tokens: Path | None,
    frames_per_second: float | None,
    durations: Path | None,
) -> dict[str, Any]:
    """The data section as the command line gives it; what is not given is left to the file."""
    section: dict[str, Any] = {}
    if train_annotations is not None:
        section["train"] = str(train_annotations)
    if validation is not None:
        section["validation"] = str(validation)
    if durations is not None:
        section["durations"] = str(durations)
    if frames:
        section["frames"] = [
            {"path": str(path), "frames_per_second": frames_per_second} for path in frames
        ]
    if tokens is not None:
        section["tokens"] = {"path": str(tokens)}
    return section


def read_experiment(name: str, *, data: dict[str, Any], training: dict[str, Any]) -> Experiment:
    """A configuration, with what the command line sets instead.

    Args:
        name: A file or a recipe.
        data: Fields of its data section.
        training: Fields of its training section; None leaves a field as it is.

    Raises:
        ConfigurationError: It cannot be meant as it stands.
    """
    read = Experiment.read(name, data=data)
    given = {key: value for key, value in training.items() if value is not None}
    config = configure(TrainingConfig, asdict(read.training) | given, where="training")
    return replace(read, training=config)
