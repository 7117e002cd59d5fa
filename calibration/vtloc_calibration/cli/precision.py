"""``vtloc-calibrate sensitivity`` and ``vtloc-calibrate int8``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from vtloc_calibration.cli.console import print_message, progress_bar
from vtloc_calibration.report_files import check_report_file, write_report
from vtloc_export.errors import ParityError
from vtloc_runtime.errors import UsageError

if TYPE_CHECKING:
    from vtloc_calibration.quantize.island_search import AnswerDrift
    from vtloc_calibration.quantize.qdq import Processor
    from vtloc_calibration.quantize.sensitivity import LoweredPrecision, Ranges, Study
    from vtloc_calibration.quantize.speedup import Compilation
    from vtloc_calibration.quantize.trials import AnswerTrial, NetworkTrial
    from vtloc_calibration.samples.samples import Samples
    from vtloc_runtime.bundle.bundle import Bundle
    from vtloc_runtime.bundle.manifest import NetworkName
    from vtloc_runtime.networks.interface import Array

BundleArgument = Annotated[Path, typer.Argument(help="The bundle, a directory.")]
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
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Measure and report, without changing the bundle.")
]
RangesOption = Annotated[
    Literal["minmax", "percentile", "entropy", "dynamic"] | None,
    typer.Option(
        help="Where INT8 ranges come from: the samples, in three ways, or (dynamic, on CPUs) each "
        "batch. Default: the fastest network within the bounds."
    ),
]


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
    _check_report(report, precision)
    with _answer_trial(opened, labels, videos) as answers:
        studies = []
        for name in _networks(network, opened):
            found, _ = _study(
                opened,
                name,
                drawn,
                precision=precision,
                answers=answers,
                granularity=granularity,
                ranges=ranges,
            )
            studies.append(found)
            _show_study(found)
            if found.choice.holds and not dry_run:
                opened = store_islands(opened, name, precision, found.choice.islands)
    _report(studies, precision, report)
    _refuse_broken(studies)


def int8(
    bundle: BundleArgument,
    *,
    samples: SamplesOption,
    labels: LabelsOption = None,
    videos: VideosOption = None,
    network: NetworksOption = None,
    granularity: GranularityOption = "module",
    ranges: RangesOption = None,
    base: Annotated[
        Literal["fp16"] | None,
        typer.Option(help="Precision of everything else; default: FP32, which also runs on CPUs."),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            help="For TensorRT, with a test build for this GPU, such as sm80. Default: for CPUs."
        ),
    ] = None,
    report: ReportOption = None,
) -> None:
    """Add the networks in INT8 to the bundle, except the nodes that cost accuracy."""
    from vtloc_calibration.bundle_edit import store_islands, store_parity, store_variant
    from vtloc_calibration.quantize.onnx_graph import base_precision
    from vtloc_calibration.quantize.speedup import compile_variant, measure_payoff
    from vtloc_calibration.samples.samples import Samples
    from vtloc_runtime.bundle.bundle import Bundle

    processor: Processor = "cpu" if base is None and target is None else "gpu"
    if ranges == "dynamic" and processor == "gpu":
        raise UsageError(
            "--ranges dynamic is for CPUs: TensorRT needs ranges that are known before",
            remedy="Leave out --ranges, or --target and --base",
        )
    opened, drawn = Bundle.open(bundle), Samples.load(samples)
    _check_report(report, "int8")
    with _answer_trial(opened, labels, videos) as answers:
        studies, measured = [], dict(opened.manifest.provenance.parity.get("int8", {}))
        written: dict[NetworkName, bytes] = {}
        for name in _networks(network, opened):
            found, content = _study(
                opened,
                name,
                drawn,
                precision="int8",
                answers=answers,
                granularity=granularity,
                ranges=ranges,
                base=base,
                processor=processor,
                # Answers about every module would mean encoding the videos again for each.
                rank_answers=False,
            )
            studies.append(found)
            _show_study(found)
            if not found.choice.holds:
                continue
            like = base or base_precision(opened, name)
            file = opened.variant(name, like)
            source = opened.read(file.file, file.sha256)
            opened = store_variant(opened, name, "int8", content, like=like)
            opened = store_islands(opened, name, "int8", found.choice.islands)
            written[name] = content
            payoff = measure_payoff({like: source, "int8": content}, name, _timed(drawn, name))
            print_message(
                f"{name}: {payoff.verdict('int8', like)}; "
                f"{len(content)} bytes, {len(source)} before"
            )
            figures = {**found.summary(), "bytes": len(content), **payoff.to_json()}
            if target is not None:
                compilation = compile_variant(opened, name, "int8", target=target)
                _show_compilation(name, compilation)
                figures["compiled"] = compilation.to_json()
            figures["processor"] = processor
            measured[name] = figures
        drift = None
        if answers is not None and written:
            measured["task"], drift = _task(answers, written)
    store_parity(opened, "int8", measured)
    _report(studies, "int8", report)
    _refuse_broken(studies)
    if drift is not None:
        _refuse_drift(drift)


def _networks(chosen: Sequence[str] | None, bundle: Bundle) -> tuple[NetworkName, ...]:
    names = bundle.manifest.network_names
    if not chosen:
        return names
    if unknown := set(chosen) - set(names):
        raise UsageError(
            f"the bundle has no network named {', '.join(sorted(unknown))}",
            where=bundle.path,
            remedy=f"Its networks are: {', '.join(names)}",
        )
    return tuple(name for name in names if name in chosen)


@contextmanager
def _answer_trial(
    bundle: Bundle, labels: Path | None, videos: Path | None
) -> Iterator[AnswerTrial | None]:
    """Asks labelled sentences; None without labels."""
    from vtloc_calibration.quantize.trials import AnswerTrial
    from vtloc_calibration.scores.labelled import read_labelled

    if labels is None:
        yield None
        return
    if videos is None:
        raise UsageError("give --videos too, the folder that holds the videos of --labels")
    with AnswerTrial(bundle, read_labelled(labels, videos=videos, skip_missing=True)) as trial:
        yield trial


def _study(
    bundle: Bundle,
    network: NetworkName,
    samples: Samples,
    *,
    precision: LoweredPrecision,
    answers: AnswerTrial | None,
    granularity: Literal["module", "node"],
    ranges: Ranges | None,
    base: str | None = None,
    processor: Processor = "cpu",
    rank_answers: bool = True,
) -> tuple[Study, bytes]:
    from vtloc_calibration.quantize.fastest_form import fastest_form, int8_forms
    from vtloc_calibration.quantize.sensitivity import half_trial, study

    def studied(method: Ranges | None, trial: NetworkTrial) -> Study:
        title = f"{network}, {precision}" if method is None else f"{network}, int8, {method}"
        with progress_bar(title, 2 * len(trial.modules)) as advance:
            return study(
                trial, precision, method=method, rank_answers=rank_answers, progress=advance
            )

    if precision == "fp16":
        trial = half_trial(bundle, network, samples, answers=answers, granularity=granularity)
        found = studied(None, trial)
        return found, trial.lowered(found.choice.lowered).SerializeToString()
    trials = int8_forms(
        bundle,
        network,
        samples,
        answers=answers,
        granularity=granularity,
        ranges=ranges,
        base=base,
        processor=processor,
    )
    return fastest_form(network, trials, studied, _timed(samples, network))


def _timed(samples: Samples, network: NetworkName) -> list[Mapping[str, Array]]:
    """The calls that a network is timed on."""
    return list(samples.split()[1].batches(network))[:4]


def _task(
    answers: AnswerTrial, written: dict[NetworkName, bytes]
) -> tuple[dict[str, Any], AnswerDrift]:
    """Accuracy of all written networks together, beside that of the bundle's own."""
    found = answers.answers(written)
    before, after, drift = answers.accuracy(), answers.accuracy(found), answers.drift(found)
    print_message(
        f"{drift.sentences} sentences: R@0.5 {before.recall:.3f} before, {after.recall:.3f} after; "
        f"mIoU {before.overlap:.3f} before, {after.overlap:.3f} after; "
        f"{drift.moved:.1%} of answers move"
    )
    return {
        "sentences": drift.sentences,
        "recall_before": before.recall,
        "recall": after.recall,
        "overlap_before": before.overlap,
        "overlap": after.overlap,
        "answers_moved": drift.moved,
        "answers_overlap": drift.overlap,
    }, drift


def _show_study(found: Study) -> None:
    title = f"{found.network}, {found.precision}"
    table = Table(
        title=title if found.method is None else f"{title}, {found.method}", title_justify="left"
    )
    answered = found.choice.effect.answers is not None
    table.add_column("module", overflow="fold", min_width=28)
    for column in ("L2 alone", "with lesser", "cosine alone"):
        table.add_column(column, justify="right")
    if answered:
        table.add_column("moved", justify="right")
    table.add_column("spared")
    for ranked in found.ranked:
        row = [
            ranked.module,
            f"{ranked.alone.relative_l2:.2e}",
            f"{ranked.together.relative_l2:.2e}",
            f"{ranked.alone.cosine:.6f}",
        ]
        if ranked.alone.answers is not None:
            row.append(f"{ranked.alone.answers.moved:.1%}")
        table.add_row(*row, "spared" if ranked.module in found.choice.islands else "")
    Console().print(table)
    if found.choice.reason is not None:
        print_message(f"{found.network}: lowering everything is too much: {found.choice.reason}")
    effect = found.choice.effect
    print_message(
        f"{found.network}: {len(found.choice.islands)} of {len(found.ranked)} spared; "
        f"relative L2 {effect.relative_l2:.2e}, cosine {effect.cosine:.6f}"
    )


def _show_compilation(network: str, found: Compilation) -> None:
    if found.refusal is None and found.bytes is not None:
        outcome = f"builds it for {found.target}, {found.bytes} bytes"
    else:
        outcome = f"refuses it for {found.target}: {found.refusal}"
    print_message(f"{network}: {found.builder} {outcome}")


def _report_files(folder: Path, precision: str) -> tuple[Path, Path]:
    """The table as JSON, and the plot."""
    return folder / f"sensitivity.{precision}.json", folder / f"sensitivity.{precision}.svg"


def _check_report(folder: Path | None, precision: str) -> None:
    """Refuse, before anything is measured, a folder with other programs' files of these names."""
    for file in () if folder is None else _report_files(folder, precision):
        check_report_file(file)


def _report(studies: Sequence[Study], precision: str, folder: Path | None) -> None:
    if folder is None:
        return
    from vtloc_calibration.scores.plots import plot_sensitivity

    table, plot = _report_files(folder, precision)
    write_report({study.network: study.to_json() for study in studies}, table)
    plot_sensitivity(studies, plot)


def _refuse_drift(drift: AnswerDrift) -> None:
    from vtloc_calibration.quantize.island_search import Effect
    from vtloc_calibration.quantize.sensitivity import PARITY_BOUNDS

    if broken := PARITY_BOUNDS["int8"].broken_by(Effect({}, drift)):
        raise ParityError(
            f"the INT8 networks together exceed the bounds: {broken}",
            remedy="Lower fewer networks with --network, or try --granularity node",
        )


def _refuse_broken(studies: Sequence[Study]) -> None:
    for study in studies:
        if not study.choice.holds:
            raise ParityError(
                f"no choice of modules in {study.precision} is within the bounds: "
                f"{study.choice.reason}",
                where=f"the {study.network} network",
                remedy="Draw more samples, or try --granularity node",
            )
