"""``vtloc train``, and the configuration that it shares with ``vtloc ablate``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vtloc.cli.options import (
    DurationsOption,
    EpochsOption,
    FramesOption,
    RateOption,
    RunDeviceOption,
    TokensOption,
    TrainOption,
    ValidationOption,
)

if TYPE_CHECKING:
    from vtloc.training.experiment import Experiment


def train(
    configuration: Annotated[
        str, typer.Argument(help="A TOML file, or the name of a recipe: paper.")
    ],
    *,
    out: Annotated[
        Path, typer.Option(help="Folder of the run; an interrupted run there is resumed.")
    ],
    train_annotations: TrainOption = None,
    validation: ValidationOption = None,
    frames: FramesOption = None,
    tokens: TokensOption = None,
    frames_per_second: RateOption = None,
    durations: DurationsOption = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=2**32 - 1, help="Random seed; overrides the configuration."),
    ] = None,
    epochs: EpochsOption = None,
    patience: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=10**6,
            help="Epochs without improvement before stopping; overrides the configuration.",
        ),
    ] = None,
    device: RunDeviceOption = None,
) -> None:
    """Train a localizer from one configuration file.

    Run the same command again to resume. A finished run continues if you give more --epochs or
    --patience; --device may change too.
    """
    from rich.console import Console

    from vtloc.training.experiment import CURVES_NAME, run_experiment
    from vtloc.training.loop import METRICS_NAME
    from vtloc.training.metrics_log import MetricsJournal, plot_curves
    from vtloc.training.progress import ProgressDisplay

    console = Console(stderr=True, markup=False)
    experiment = read_experiment(
        configuration,
        data=data_section(
            train_annotations=train_annotations,
            validation=validation,
            frames=frames,
            tokens=tokens,
            frames_per_second=frames_per_second,
            durations=durations,
        ),
        training={"seed": seed, "epochs": epochs, "patience": patience, "device": device},
    )
    with ProgressDisplay(console) as display:
        result = run_experiment(experiment, out, listener=display, progress=console.print)
    plot_curves(MetricsJournal(out / METRICS_NAME), out / CURVES_NAME)
    console.print(
        f"best epoch {result.best_epoch + 1} of {result.epochs}, "
        f"mIoU {result.best_score:.2f}: {result.checkpoint}",
        soft_wrap=True,
    )


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
    """Read a configuration and apply what the command line overrides.

    Args:
        name: A file or a recipe.
        data: Fields of its data section.
        training: Fields of its training section; None leaves a field as it is.

    Raises:
        ConfigurationError: The configuration is not valid.
    """
    from vtloc.config_files import configure
    from vtloc.training import TrainingConfig
    from vtloc.training.experiment import Experiment

    read = Experiment.read(name, data=data)
    given = {key: value for key, value in training.items() if value is not None}
    config = configure(TrainingConfig, asdict(read.training) | given, where="training")
    return replace(read, training=config)
