"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

BundleArgument = Annotated[Path, typer.Argument(help="The bundle, a directory.")]
SeedOption = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Random seed.")]
PrecisionOption = Annotated[
    str | None, typer.Option(help="Precision of the networks; default: the bundle's own.")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Measure and report, without changing the bundle.")
]
SamplesOption = Annotated[
    Path, typer.Option(help="Samples, as vtloc-calibrate samples draws them.")
]
LabelsOption = Annotated[
    Path | None, typer.Option(help="Annotations, to measure how answers change.")
]
VideosOption = Annotated[Path | None, typer.Option(help="Folder that holds their videos.")]
NetworksOption = Annotated[
    list[str] | None, typer.Option("--network", help="Only this network; may be repeated.")
]
GranularityOption = Annotated[
    Literal["module", "node"],
    typer.Option(help="Exclude whole modules, or single nodes."),
]
ReportOption = Annotated[Path | None, typer.Option(help="Folder for JSON and plots.")]
RangesOption = Annotated[
    Literal["minmax", "percentile", "entropy", "dynamic"] | None,
    typer.Option(
        help="Where INT8 ranges come from: the samples, in three ways, or (dynamic, on CPUs) each "
        "batch. Default: the fastest network within the bounds."
    ),
]
