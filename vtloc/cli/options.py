"""Options that several commands of ``vtloc`` share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from vtloc_runtime.bundle.manifest_check import LEAST_FRAMES_PER_SECOND, MOST_FRAMES_PER_SECOND


class Format(StrEnum):
    """How tables are printed."""

    TABLE = "table"
    MARKDOWN = "markdown"
    JSON = "json"


FormatOption = Annotated[Format, typer.Option("--format", help="How to print the table.")]
TrainOption = Annotated[
    Path | None, typer.Option("--train", help="Annotations of the training split.")
]
ValidationOption = Annotated[Path | None, typer.Option(help="Annotations of the validation split.")]
DurationsOption = Annotated[
    Path | None,
    typer.Option(help="Charades-STA only: charades.json, if it is not beside the annotations."),
]
FramesOption = Annotated[
    list[Path] | None,
    typer.Option(help="Frame features; repeat to join several side by side."),
]
TokensOption = Annotated[Path | None, typer.Option(help="Token features.")]
RateOption = Annotated[
    float | None,
    typer.Option(
        min=LEAST_FRAMES_PER_SECOND,
        max=MOST_FRAMES_PER_SECOND,
        help="Frames per second of frame features that vtloc did not make.",
    ),
]
DeviceOption = Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")]
EpochsOption = Annotated[
    int | None,
    typer.Option(min=1, max=10**6, help="Number of epochs; overrides the configuration."),
]
RunDeviceOption = Annotated[
    str | None, typer.Option(help="auto, cpu, cuda or cuda:N; overrides the configuration.")
]
