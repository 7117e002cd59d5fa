"""``vtloc-calibrate int8``: INT8 networks in the bundle, with their parity and speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vtloc_calibration.cli.console import print_message
from vtloc_calibration.cli.options import (
    BundleArgument,
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
    timed_calls,
    write_studies,
)
from vtloc_export.errors import ParityError
from vtloc_runtime.errors import UsageError

if TYPE_CHECKING:
    from vtloc_calibration.quantize.island_search import AnswerDrift
    from vtloc_calibration.quantize.qdq import Processor
    from vtloc_calibration.quantize.sensitivity import Study
    from vtloc_calibration.quantize.speedup import Compilation
    from vtloc_calibration.quantize.trials import AnswerTrial
    from vtloc_runtime.bundle.bundle import Bundle
    from vtloc_runtime.bundle.manifest import NetworkName
    from vtloc_runtime.networks.interface import Array


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
    from vtloc_calibration.bundle_edit import store_parity
    from vtloc_calibration.samples.samples import Samples
    from vtloc_runtime.bundle.bundle import Bundle

    processor: Processor = "cpu" if base is None and target is None else "gpu"
    if ranges == "dynamic" and processor == "gpu":
        raise UsageError(
            "--ranges dynamic is for CPUs: TensorRT needs ranges that are known before",
            remedy="Leave out --ranges, or --target and --base",
        )
    opened, drawn = Bundle.open(bundle), Samples.load(samples)
    check_report(report, "int8")
    with answer_trial(opened, labels, videos) as answers:
        studies, measured = [], dict(opened.manifest.provenance.parity.get("int8", {}))
        written: dict[NetworkName, bytes] = {}
        for name in chosen_networks(network, opened):
            found, content = study_network(
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
            show_study(found)
            if found.choice.holds:
                calls = timed_calls(drawn, name)
                opened, figures = _store(opened, found, content, calls, base=base, target=target)
                measured[name] = {**figures, "processor": processor}
                written[name] = content
        drift = None
        if answers is not None and written:
            measured["task"], drift = _task(answers, written)
    store_parity(opened, "int8", measured)
    write_studies(studies, "int8", report)
    refuse_broken(studies)
    if drift is not None:
        _refuse_drift(drift)


def _store(
    bundle: Bundle,
    found: Study,
    content: bytes,
    calls: Sequence[Mapping[str, Array]],
    *,
    base: str | None,
    target: str | None,
) -> tuple[Bundle, dict[str, Any]]:
    """Put a network in INT8 into the bundle; the bundle, and the network's figures."""
    from vtloc_calibration.bundle_edit import store_islands, store_variant
    from vtloc_calibration.quantize.onnx_graph import base_precision
    from vtloc_calibration.quantize.speedup import compile_variant, measure_payoff

    name = found.network
    like = base or base_precision(bundle, name)
    file = bundle.variant(name, like)
    source = bundle.read(file.file, file.sha256)
    bundle = store_variant(bundle, name, "int8", content, like=like)
    bundle = store_islands(bundle, name, "int8", found.choice.islands)
    payoff = measure_payoff({like: source, "int8": content}, name, calls)
    print_message(
        f"{name}: {payoff.verdict('int8', like)}; {len(content)} bytes, {len(source)} before"
    )
    figures = {**found.summary(), "bytes": len(content), **payoff.to_json()}
    if target is not None:
        compilation = compile_variant(bundle, name, "int8", target=target)
        _show_compilation(name, compilation)
        figures["compiled"] = compilation.to_json()
    return bundle, figures


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


def _show_compilation(network: str, found: Compilation) -> None:
    if found.refusal is None and found.bytes is not None:
        outcome = f"builds it for {found.target}, {found.bytes} bytes"
    else:
        outcome = f"refuses it for {found.target}: {found.refusal}"
    print_message(f"{network}: {found.builder} {outcome}")


def _refuse_drift(drift: AnswerDrift) -> None:
    from vtloc_calibration.quantize.island_search import Effect
    from vtloc_calibration.quantize.sensitivity import PARITY_BOUNDS

    if broken := PARITY_BOUNDS["int8"].broken_by(Effect({}, drift)):
        raise ParityError(
            f"the INT8 networks together exceed the bounds: {broken}",
            remedy="Lower fewer networks with --network, or try --granularity node",
        )
