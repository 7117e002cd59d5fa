"""Speed and roofline of a bundle's networks, as a table in a document.

    python -m benchmarks.roofline.table --bundle BUNDLE --backend tensorrt --document docs/gpu.md

The table replaces what lies between the lines ``<!-- bench begin -->`` and ``<!-- bench end -->``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.roofline.network_cost import network_cost
from benchmarks.roofline.peaks import Bound, Peak, bound, cpu_peak, gpu_peak
from vtloc_runtime import Bundle
from vtloc_runtime.bench.measure import BenchOptions, example_inputs, measure
from vtloc_runtime.bench.report import BenchReport, RunShape, StageResult
from vtloc_runtime.bundle.manifest import NETWORK_NAMES, NetworkName
from vtloc_runtime.networks.load import open_network
from vtloc_runtime.system.processors import available_processors
from vtloc_runtime.system.text import short_number

BEGIN, END = "<!-- bench begin -->", "<!-- bench end -->"
COLUMNS = ("stage", "shape", "item", "items/s", "p50 ms", "p90", "p99", "of bound")


def main() -> None:
    """Measure a bundle, and print the table or write it into a document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--backend", default="onnxruntime")
    parser.add_argument("--device")
    parser.add_argument("--precision")
    parser.add_argument("--callers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--video", type=Path)
    parser.add_argument("--document", type=Path)
    options = parser.parse_args()
    text = "" if options.document is None else options.document.read_text(encoding="utf-8")
    if options.document is not None and not _has_place(text):
        parser.error(f"{options.document} needs the lines {BEGIN} and {END}")
    bundle = Bundle.open(options.bundle)
    report = measure(
        bundle,
        BenchOptions(
            backend=options.backend,
            device=options.device,
            precision=options.precision,
            callers=options.callers,
            seconds=options.seconds,
            video=options.video,
        ),
    )
    table = markdown(bundle, report)
    if options.document is None:
        print(table)
    else:
        options.document.write_text(put_table(text, table), encoding="utf-8")


def put_table(text: str, table: str) -> str:
    """Replace what lies between the marks of a document."""
    before, rest = text.split(BEGIN, 1)
    return f"{before}{BEGIN}\n{table}\n{END}{rest.split(END, 1)[1]}"


def markdown(bundle: Bundle, report: BenchReport) -> str:
    """The report with the share of the roofline that each network reaches."""
    if report.backend.endswith(":cpu"):
        peak: Peak | None = cpu_peak(report.processor, available_processors())
    else:
        peak = gpu_peak(report.processor)
    rows = [COLUMNS, ("---",) * 3 + ("--:",) * (len(COLUMNS) - 3)]
    rows += [_cells(bundle, stage, peak) for stage in report.stages]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    note = "The peak of this GPU is not known, so there is no roofline."
    if peak is not None:
        note = (
            f"Roofline: {peak.fp16 / 1e12:.3g} FP16 and {peak.fp32 / 1e12:.3g} FP32 Tflop/s, "
            f"{peak.bandwidth / 1e9:,.0f} GB/s ({peak.source}); com: bound by computing, "
            "mem: by memory."
        )
    return f"**{report.title}**\n\n{table}\n\n{report.caption} {note}"


def network_bound(bundle: Bundle, stage: StageResult, peak: Peak) -> Bound | None:
    """The roofline of one item of a network; None for other stages."""
    if stage.run_shape is None:
        return None
    name: NetworkName = next(known for known in NETWORK_NAMES if known == stage.stage)
    one = RunShape(1, stage.run_shape.frames, stage.run_shape.tokens)
    with open_network(bundle, name, device="cpu", precision=stage.precision) as network:
        inputs = example_inputs(network, one)
    cost = network_cost(bundle, name, stage.precision, inputs)
    return bound(cost, peak, precision=stage.precision, batch=stage.run_shape.batch)


def _cells(bundle: Bundle, stage: StageResult, peak: Peak | None) -> tuple[str, ...]:
    limit = None if peak is None else network_bound(bundle, stage, peak)
    reached = ""
    if limit is not None:
        reached = (
            f"{stage.rate * limit.seconds:.0%} of {short_number(1 / limit.seconds)} {limit.by[:3]}"
        )
    latencies = map(short_number, (stage.p50, stage.p90, stage.p99))
    return (stage.stage, stage.shape, stage.item, short_number(stage.rate), *latencies, reached)


def _has_place(text: str) -> bool:
    return BEGIN in text and END in text.partition(BEGIN)[2]


if __name__ == "__main__":
    main()
