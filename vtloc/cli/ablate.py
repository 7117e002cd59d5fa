"""``vtloc ablate``: train every arm of a table, each on the features that it names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vtloc.cli.options import (
    DurationsOption,
    EpochsOption,
    Format,
    FormatOption,
    RateOption,
    RunDeviceOption,
    TrainOption,
    ValidationOption,
)
from vtloc.cli.train import data_section, read_experiment

if TYPE_CHECKING:
    from vtloc.annotations import Split
    from vtloc.training.ablation import Arm, ArmData
    from vtloc.training.experiment import Experiment

DEFAULT = ""
"""Label of features that were given without one."""


def ablate(
    ablation: Annotated[
        str,
        typer.Argument(help="A TOML file of arms, or: components, text, backbone, design."),
    ],
    *,
    out: Annotated[Path, typer.Option(help="Folder of the runs; finished ones are kept.")],
    configuration: Annotated[
        str, typer.Option(help="The configuration that all arms share.")
    ] = "paper",
    train_annotations: TrainOption = None,
    validation: ValidationOption = None,
    frames: Annotated[
        list[str] | None, typer.Option(help="Frame features, PATH or LABEL=PATH; repeatable.")
    ] = None,
    tokens: Annotated[
        list[str] | None, typer.Option(help="Token features, PATH or LABEL=PATH; repeatable.")
    ] = None,
    frames_per_second: RateOption = None,
    durations: DurationsOption = None,
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Number of seeds per arm.")] = 1,
    epochs: EpochsOption = None,
    device: RunDeviceOption = None,
    style: FormatOption = Format.TABLE,
) -> None:
    """Train every arm of an ablation, and print its table beside the paper's figures."""
    from rich.console import Console

    from vtloc.evaluation.table import print_table, title_of
    from vtloc.training.ablation import Ablation, run_ablation
    from vtloc.training.progress import ProgressDisplay

    console = Console(stderr=True, markup=False)
    arms = Ablation.read(ablation)
    given = ArmFeatures.parse(frames or [], tokens or [], frames_per_second)
    experiment = read_experiment(
        configuration,
        data=data_section(
            train_annotations=train_annotations,
            validation=validation,
            frames=given.first_frames(),
            tokens=given.first_tokens(),
            frames_per_second=frames_per_second,
            durations=durations,
        ),
        training={"epochs": epochs, "device": device},
    )
    splits: list[Split] = []

    def prepare(arm: Arm) -> ArmData | None:
        prepared = given.prepare(arm, experiment)
        if prepared is None:
            return None
        splits.append(prepared[1])
        return prepared[0]

    with ProgressDisplay(console) as display:
        results = run_ablation(
            arms,
            prepare,
            folder=out,
            seeds=range(seeds),
            training=experiment.training,
            losses=experiment.losses,
            listener=display,
            progress=console.print,
        )
    where = f", {title_of(splits[0], strict=False)}" if splits else ""
    print_table(f"{arms.title}{where}", [row for r in results for row in r.rows()], style.value)


@dataclass(frozen=True, slots=True)
class ArmFeatures:
    """Features by label, from the command line.

    Attributes:
        frames: Frame features.
        tokens: Token features.
        frames_per_second: Rate of frame features made elsewhere.
    """

    frames: dict[str, Path]
    tokens: dict[str, Path]
    frames_per_second: float | None

    @classmethod
    def parse(
        cls, frames: Sequence[str], tokens: Sequence[str], frames_per_second: float | None
    ) -> ArmFeatures:
        """Read ``PATH`` and ``LABEL=PATH``."""
        return cls(_labelled(frames), _labelled(tokens), frames_per_second)

    def first_frames(self) -> list[Path]:
        """The default frame features, or any: the experiment needs some to be whole."""
        return [self.frames.get(DEFAULT, path) for path in self.frames.values()][:1]

    def first_tokens(self) -> Path | None:
        """The default token features, or any."""
        return next((self.tokens.get(DEFAULT, path) for path in self.tokens.values()), None)

    def prepare(self, arm: Arm, experiment: Experiment) -> tuple[ArmData, Split] | None:
        """An arm's data and validation split; None where its features were not given.

        Raises:
            ConfigurationError: The experiment names no data.
            VtlocError: As `vtloc.training.data.open_data` says.
        """
        from vtloc.errors import ConfigurationError
        from vtloc.features.sources import open_frames, open_tokens
        from vtloc.training.ablation import ArmData
        from vtloc.training.data import open_data
        from vtloc.training.experiment import localizer_config

        if experiment.data is None:
            raise ConfigurationError(
                "no data is named",
                remedy="Give --train, --validation, --frames and --tokens, or a configuration",
            )
        data = experiment.data
        if (arm.frames is not None and arm.frames not in self.frames) or (
            arm.tokens is not None and arm.tokens not in self.tokens
        ):
            return None
        frames = None
        if arm.frames is not None:
            frames = open_frames(self.frames[arm.frames], frames_per_second=self.frames_per_second)
        tokens = None if arm.tokens is None else open_tokens(self.tokens[arm.tokens])
        base = open_data(data, seed=0, frames=frames, tokens=tokens)
        prepared = ArmData(
            source=base.train.reseeded,
            validation=base.validation,
            test=base.validation,
            localizer=lambda fields: localizer_config(
                {**experiment.localizer, **fields}, base.frames, base.tokens
            ),
            visual_encoder=base.frames.encoder,
            text_encoder=base.tokens.encoder,
        )
        return prepared, base.split


def _labelled(entries: Sequence[str]) -> dict[str, Path]:
    paths: dict[str, Path] = {}
    for entry in entries:
        label, separator, path = entry.partition("=")
        paths[label if separator else DEFAULT] = Path(path if separator else label)
    return paths
