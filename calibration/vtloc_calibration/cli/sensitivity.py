"""``vtloc-calibrate sensitivity``: the effect of lower precision in each module."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from vtloc_calibration.cli.options import (
    BundleArgument,
    DryRunOption,
    GranularityOption,
    LabelsOption,
    NetworksOption,
    RangesOption,
    ReportOption,
    SamplesOption,
    VideosOption,
)
from vtloc_calibration.cli.studies import (
    answer_trial,
    check_report,
    chosen_networks,
    refuse_broken,
    show_study,
    study_network,
    write_studies,
)


def sensitivity(
    bundle: BundleArgument,
    *,
    samples: SamplesOption,
    labels: LabelsOption = None,
    videos: VideosOption = None,
    precision: Annotated[
        Literal["fp16", "int8"], typer.Option(help="The lower precision.")
    ] = "fp16",
    network: NetworksOption = None,
    granularity: GranularityOption = "module",
    ranges: RangesOption = None,
    report: ReportOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Measure the effect of lowering each module, and choose which modules to exclude."""
    from vtloc_calibration.bundle_edit import store_islands
    from vtloc_calibration.samples.samples import Samples
    from vtloc_runtime.bundle.bundle import Bundle

    opened, drawn = Bundle.open(bundle), Samples.load(samples)
    check_report(report, precision)
    with answer_trial(opened, labels, videos) as answers:
        studies = []
        for name in chosen_networks(network, opened):
            found, _ = study_network(
                opened,
                name,
                drawn,
                precision=precision,
                answers=answers,
                granularity=granularity,
                ranges=ranges,
            )
            studies.append(found)
            show_study(found)
            if found.choice.holds and not dry_run:
                opened = store_islands(opened, name, precision, found.choice.islands)
    write_studies(studies, precision, report)
    refuse_broken(studies)
