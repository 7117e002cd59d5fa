"""What calibration buys: honest scores, "no such moment", INT8 and its price.

Photographs that no training saw are filmed into mp4 files, in two halves that share no subject:
one half calibrates, the other judges. Needs the folder of real files:
``python benchmarks/calibration.py --media DIR``, or VTLOC_TEST_MEDIA. Everything that is printed
was measured in this run; ``--out`` keeps tables, plots, and the calibrated copy of the bundle.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from accuracy import caltech, coco, film, imagenet

from vtloc_calibration.answers import Answers, ask, without_calibration, write_answers
from vtloc_calibration.labelled import LabelledQuery, read_labelled, with_absent
from vtloc_calibration.plots import plot_scores, plot_sensitivity
from vtloc_calibration.recording import Amount
from vtloc_calibration.rejection import rejection_curve
from vtloc_calibration.reliability import expected_calibration_error
from vtloc_calibration.samples import SampledVideo, Samples, draw_samples
from vtloc_calibration.score_report import ScoredAnswer, ScoreReport, calibrate_scores
from vtloc_calibration.scores import probabilities
from vtloc_calibration.sensitivity import Study, half_trial, study
from vtloc_calibration.trials import AnswerTrial
from vtloc_runtime import Localizer
from vtloc_runtime.bundle import DEFAULT_BUNDLE, Bundle
from vtloc_runtime.manifest import NETWORK_NAMES, NetworkName

SETS = {"coco": (coco, 3), "caltech": (caltech, 2), "imagenet": (imagenet, 2)}
"""Photographs by name, and their share of the videos."""

ABSENT_A_VIDEO = 3
MOST_FRAMES = 4000


def film_half(photos: Path, folder: Path, *, half: int, videos: int) -> Path:
    """Film timelines of one half of the subjects; gives the file of labels."""
    lines: list[dict[str, Any]] = []
    for title, (read, weight) in SETS.items():
        found = read(photos)
        subjects = sorted({photo.subject for photo in found})[half::2]
        own = [photo for photo in found if photo.subject in subjects]
        (folder / title).mkdir(parents=True)
        for path, examples in film(own, folder / title, weight * videos // 7, seed=half):
            for example in examples:
                spans = [[moment.start, moment.end] for moment in example.moments]
                lines.append(
                    {
                        "qid": len(lines),
                        "vid": f"{title}/{path.name}",
                        "query": example.query,
                        "duration": example.duration,
                        "relevant_windows": spans,
                    }
                )
    labels = folder / "labels.jsonl"
    labels.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return labels


def answers_of(bundle: Bundle, labelled: Sequence[LabelledQuery]) -> Answers:
    """Ask a bundle every sentence, its scores raw."""
    with Localizer.open(without_calibration(bundle)) as localizer:
        return ask(localizer, labelled, progress=_count)


def _count(done: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} sentences", end="", file=sys.stderr, flush=True)


def judge_scores(report: ScoreReport, answers: Sequence[ScoredAnswer]) -> dict[str, float]:
    """Hold a calibration against answers about other photographs."""
    raw = np.array([one.raw for one in answers])
    present = np.array([one.present for one in answers])
    right = np.array([one.overlap >= report.iou for one in answers])[present]
    stated = probabilities(raw, report.calibration)
    curve = rejection_curve(stated[present], stated[~present])
    kept, rejected = curve.at(report.calibration.threshold or 0.0)
    return {
        "sentences": int(present.sum()),
        "absent": int((~present).sum()),
        "right": float(right.mean()),
        "error_before": expected_calibration_error(raw[present], right),
        "error_after": expected_calibration_error(stated[present], right),
        "kept": kept,
        "rejected": rejected,
        "area": curve.area,
    }


def print_scores(report: ScoreReport, judged: dict[str, float]) -> None:
    """The table of scores."""
    print(f"\nScores, {report.method}, fitted on {report.present} sentences, judged on others\n")
    print("| | value |\n|---|---|")
    rows = {
        "sentences judged, present / absent": f"{judged['sentences']} / {judged['absent']}",
        "right at IoU 0.5": f"{judged['right']:.3f}",
        "expected calibration error, raw": f"{judged['error_before']:.3f}",
        "expected calibration error, calibrated": f"{judged['error_after']:.3f}",
        "present sentences kept": f"{judged['kept']:.3f}",
        "absent sentences rejected": f"{judged['rejected']:.3f}",
        "area under rejection against keeping": f"{judged['area']:.3f}",
    }
    for name, value in rows.items():
        print(f"| {name} | {value} |")


def half_studies(bundle: Bundle, samples: Samples) -> list[Study]:
    """Every module of every network in half precision."""
    return [study(half_trial(bundle, name, samples), "fp16") for name in NETWORK_NAMES]


def print_half(studies: Sequence[Study]) -> None:
    """The table of half precision."""
    print("\nHalf precision, module by module\n")
    print("| network | modules | everything: relative L2 | cosine | most sensitive | spared |")
    print("|---|---|---|---|---|---|")
    for one in studies:
        worst, effect = one.ranked[0], one.choice.effect
        print(
            f"| {one.network} | {len(one.ranked)} | {effect.relative_l2:.1e} "
            f"| {effect.cosine:.6f} | {worst.module} ({worst.alone.relative_l2:.1e}) "
            f"| {len(one.choice.islands)} |"
        )


def write_int8(
    bundle: Bundle, samples: Path, labels: Path, videos: Path, out: Path
) -> dict[str, Any]:
    """Run ``vtloc-calibrate int8`` on the bundle; gives what the manifest then says."""
    from vtloc_calibration.cli import app

    arguments = [
        "int8", str(bundle.path), "--samples", str(samples), "--labels", str(labels),
        "--videos", str(videos), "--target", "sm80", "--report", str(out),
    ]  # fmt: skip
    app(arguments, standalone_mode=False)
    measured: dict[str, Any] = Bundle.open(bundle.path).manifest.provenance.parity["int8"]
    return measured


def print_int8(measured: dict[str, Any]) -> None:
    """The table of INT8."""
    print("\nINT8\n")
    print("| network | ranges | spared | relative L2 | cosine | bytes | speed | SM80 |")
    print("|---|---|---|---|---|---|---|---|")
    for name in NETWORK_NAMES:
        one = measured[name]
        speed = one["items_per_second"]
        base = next(precision for precision in speed if precision != "int8")
        built = one["compiled"]["refusal"] or f"builds ({one['compiled']['bytes']} bytes)"
        print(
            f"| {name} | {one['ranges']} | {len(one['islands'])} | {one['relative_l2']:.3f} "
            f"| {one['cosine']:.4f} | {one['bytes']} "
            f"| {speed['int8']:.1f} a second, {base} {speed[base]:.1f} | {built} |"
        )


def half_networks(
    bundle: Bundle, studies: Sequence[Study], samples: Samples
) -> dict[NetworkName, bytes]:
    """Every network in half precision, but for what was spared."""
    return {
        one.network: half_trial(bundle, one.network, samples)
        .lowered(one.choice.lowered)
        .SerializeToString()
        for one in studies
    }


def int8_networks(bundle: Bundle) -> dict[NetworkName, bytes]:
    """Every network in INT8, as the bundle has it."""
    files = {name: bundle.variant(name, "int8") for name in NETWORK_NAMES}
    return {name: bundle.read(file.file, file.sha256) for name, file in files.items()}


def print_answers(trial: AnswerTrial, lowered: dict[str, dict[NetworkName, bytes]]) -> None:
    """The table of answers about the judging half."""
    before = trial.accuracy()
    print(f"\nAnswers to {trial.sentences} sentences of the judging half\n")
    print("| precision | R@0.5 | mIoU | answers moved | overlap of old and new |")
    print("|---|---|---|---|---|")
    print(f"| the bundle's own | {before.recall:.4f} | {before.overlap:.4f} | | |")
    for title, networks in lowered.items():
        answers = trial.answers(networks)
        after, drift = trial.accuracy(answers), trial.drift(answers)
        print(
            f"| {title} | {after.recall:.4f} | {after.overlap:.4f} "
            f"| {drift.moved:.1%} | {drift.overlap:.4f} |"
        )


def main() -> None:
    """Film, calibrate, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--media", type=Path, default=os.environ.get("VTLOC_TEST_MEDIA"))
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE)
    parser.add_argument("--videos", type=int, default=70, help="in each half")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.media is None:
        parser.error("name the folder of real files with --media or VTLOC_TEST_MEDIA")
    with tempfile.TemporaryDirectory() as scratch:
        run(options, Path(scratch))


def run(options: argparse.Namespace, scratch: Path) -> None:
    """The whole benchmark in a folder of its own."""
    out = options.out or scratch / "report"
    bundle = Bundle.open(shutil.copytree(options.bundle, out / "bundle", dirs_exist_ok=True))
    halves = [scratch / name for name in ("calibrating", "judging")]
    labels = [
        film_half(options.media / "photos", folder, half=index, videos=options.videos)
        for index, folder in enumerate(halves)
    ]
    labelled = [
        read_labelled(file, videos=folder) for file, folder in zip(labels, halves, strict=True)
    ]
    answers = [
        answers_of(bundle, with_absent(one, per_video=ABSENT_A_VIDEO)).answers for one in labelled
    ]
    for name, one in zip(("calibrating", "judging"), answers, strict=True):
        write_answers(one, out / f"answers.{name}.jsonl")
    report = calibrate_scores(answers[0])
    print_scores(report, judge_scores(report, answers[1]))
    plot_scores(report, out / "scores.svg")

    asked: dict[Path, list[str]] = {}
    for query in labelled[0]:
        asked.setdefault(query.video, []).append(query.query)
    samples = draw_samples(
        bundle,
        [SampledVideo(video, tuple(queries)) for video, queries in asked.items()],
        amount=Amount(videos=20, frames=160, frames_per_video=8),
    )
    samples.save(out / "samples.safetensors")
    studies = half_studies(bundle, samples)
    print_half(studies)
    plot_sensitivity(studies, out / "sensitivity.fp16.svg")
    half = half_networks(bundle, studies, samples)
    print_int8(write_int8(bundle, out / "samples.safetensors", labels[0], halves[0], out))
    trial = AnswerTrial(bundle, labelled[1], frames=MOST_FRAMES)
    int8 = int8_networks(Bundle.open(bundle.path))
    print_answers(trial, {"FP16, rounded": half, "INT8": int8})
    trial.close()


if __name__ == "__main__":
    main()
