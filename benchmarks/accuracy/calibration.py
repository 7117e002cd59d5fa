"""What calibration buys: honest scores, "no such moment", INT8 and its price.

Photographs that no training saw are filmed into mp4 files, in two halves that share no subject:
one half calibrates, the other judges. Needs the folder of real files:
``python -m benchmarks.accuracy.calibration --media DIR``, or VTLOC_TEST_MEDIA.
Everything that is printed was measured in this run. ``--out`` keeps films, tables and plots, and
a later call with ``--only film``, ``scores``, ``half``, ``int8`` or ``answers`` goes on there.
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
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.accuracy.accuracy import caltech, coco, film, imagenet
from recipes.default_bundle.composed import ComposedVideos, ask_composed
from vtloc_calibration.quantize.sensitivity import Study, half_trial, int8_trials, study
from vtloc_calibration.quantize.trials import AnswerTrial
from vtloc_calibration.samples.recorder import Amount
from vtloc_calibration.samples.samples import SampledVideo, Samples, draw_samples
from vtloc_calibration.scores.answers import ask, without_calibration, write_answers
from vtloc_calibration.scores.fit import probabilities, with_margin
from vtloc_calibration.scores.labelled import LabelledQuery, read_labelled, with_absent
from vtloc_calibration.scores.plots import plot_scores, plot_sensitivity
from vtloc_calibration.scores.rejection import rejection_curve, threshold_that_keeps
from vtloc_calibration.scores.reliability import brier_score, expected_calibration_error
from vtloc_calibration.scores.report import ScoredAnswer, Target, calibrate_scores
from vtloc_runtime import Localizer
from vtloc_runtime.bundle.bundle import DEFAULT_BUNDLE, Bundle
from vtloc_runtime.bundle.manifest import NETWORK_NAMES, NetworkName, ScoreCalibration

if TYPE_CHECKING:
    from vtloc_calibration.quantize.qdq import Processor

SETS = {"coco": (coco, 3), "caltech": (caltech, 2), "imagenet": (imagenet, 2)}
"""Photographs by name, and their share of the videos."""

HALVES = ("calibrating", "judging")
PROCESSORS: tuple[Processor, ...] = ("cpu", "gpu")
STEPS = ("film", "scores", "half", "int8", "answers")
ABSENT_A_VIDEO = 6
KEPT = (0.9, 0.95, 0.98)
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


def scores_step(bundle: Bundle, out: Path) -> None:
    """Calibrate on composed timelines and on one half; judge both, and the bundle, on the other."""
    provenance = bundle.manifest.provenance
    composed = ComposedVideos.load((provenance.visual_encoder, provenance.text_encoder))
    found = {}
    with Localizer.open(without_calibration(bundle)) as localizer:
        found["composed timelines"] = ask_composed(localizer, composed)
        for half in HALVES:
            labelled = with_absent(labels_of(out, half), per_video=ABSENT_A_VIDEO)
            found[half] = ask(localizer, labelled, progress=_count)
            write_answers(found[half], out / f"answers.{half}.jsonl")
    judging = found.pop("judging").answers
    print("\n| fitted on | sentences | error before | error after | Brier before | after |")
    print("|---|---|---|---|---|---|")
    for title, answers in found.items():
        report = calibrate_scores(answers.answers, target=Target("keep", 0.95))
        print_map(title, report.calibration, judging, sentences=report.present)
    if bundle.manifest.score_calibration is not None:
        print_map("as the bundle ships", bundle.manifest.score_calibration, judging)
    print("\n| threshold from | by | to keep | keeps | of right answers | rejects |")
    print("|---|---|---|---|---|---|")
    for title, answers in found.items():
        for scores_only in (True, False):
            for share in KEPT:
                print_threshold(title, answers.answers, judging, share, scores_only=scores_only)
    bank = bundle.manifest.sentence_bank
    if bank is not None and bank.threshold is not None:
        least = bank.threshold
        given = [one.margin is None or one.margin >= least for one in judging]
        print_kept("as the bundle ships | margin |", judging, given)
    print_areas(judging)
    plot_scores(calibrate_scores(judging, target=Target("keep", 0.95)), out / "scores.svg")


def labels_of(out: Path, half: str) -> tuple[LabelledQuery, ...]:
    """What one half's films show."""
    folder = out / "films" / half
    return read_labelled(folder / "labels.jsonl", videos=folder)


def _count(done: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} sentences", end="", file=sys.stderr, flush=True)


def print_map(
    title: str,
    calibration: ScoreCalibration,
    judging: Sequence[ScoredAnswer],
    *,
    sentences: int | None = None,
) -> None:
    """What a map says of answers about other photographs."""
    asked = [one for one in judging if one.present]
    raw = np.array([one.raw for one in asked])
    margins = np.array([one.margin or 0.0 for one in asked])
    right = np.array([one.overlap >= 0.5 for one in asked])
    weighed = with_margin(raw, margins, calibration.margin_weight)
    stated = probabilities(weighed, calibration)
    before, after = (expected_calibration_error(one, right) for one in (raw, stated))
    briers = [brier_score(one, right) for one in (raw, stated)]
    print(
        f"| {title} | {sentences or ''} | {before:.3f} | {after:.3f} "
        f"| {briers[0]:.3f} | {briers[1]:.3f} |"
    )


def print_threshold(
    title: str,
    answers: Sequence[ScoredAnswer],
    judging: Sequence[ScoredAnswer],
    share: float,
    *,
    scores_only: bool,
) -> None:
    """What a threshold from some answers does to others."""

    def evidence(one: ScoredAnswer) -> float:
        return one.raw if scores_only or one.margin is None else one.margin

    threshold = threshold_that_keeps([evidence(one) for one in answers if one.present], share=share)
    label = f"{title} | {'score' if scores_only else 'margin'} | {share:.0%}"
    print_kept(label, judging, [evidence(one) >= threshold for one in judging])


def print_kept(label: str, judging: Sequence[ScoredAnswer], answered: Sequence[bool]) -> None:
    """The share of what is shown, of right answers, and of what is not shown."""
    pairs = list(zip(judging, answered, strict=True))
    kept = np.mean([given for one, given in pairs if one.present])
    right = np.mean([given for one, given in pairs if one.present and one.overlap >= 0.5])
    rejected = np.mean([not given for one, given in pairs if not one.present])
    print(f"| {label} | {kept:.1%} | {right:.1%} | {rejected:.1%} |")


def print_areas(judging: Sequence[ScoredAnswer]) -> None:
    """How well scores and margins tell present sentences from absent ones."""
    for by, values in (
        ("score", [one.raw for one in judging]),
        ("margin", [one.margin or 0.0 for one in judging]),
    ):
        present = [value for value, one in zip(values, judging, strict=True) if one.present]
        absent = [value for value, one in zip(values, judging, strict=True) if not one.present]
        curve = rejection_curve(present, absent)
        at = ", ".join(
            f"{curve.rejected[np.flatnonzero(curve.kept >= share)[-1]]:.1%} at {share:.0%}"
            for share in KEPT
        )
        print(f"\nBy {by}: area {curve.area:.3f}; rejects {at} kept ({len(absent)} absent)")


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


def print_ranges(bundle: Bundle, samples: Samples) -> None:
    """The three ways to choose ranges, everything lowered, for either processor."""
    print("\n| network | processor | minmax | percentile | entropy |\n|---|---|---|---|---|")
    for name in NETWORK_NAMES:
        for processor in PROCESSORS:
            trials = int8_trials(bundle, name, samples, processor=processor)
            found = (trials[way].measure_outputs(frozenset(trials[way].modules)) for way in trials)
            cells = " | ".join(f"{one.relative_l2:.3f}" for one in found)
            print(f"| {name} | {processor} | {cells} |")


def int8_step(bundle: Bundle, out: Path, processor: Processor) -> None:
    """Run ``vtloc-calibrate int8`` on a copy of the bundle, and print what it measured."""
    from vtloc_calibration.cli.main import app

    copy = out / f"bundle.{processor}"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(bundle.path, copy)
    target = ["--target", "sm80"] if processor == "gpu" else []
    samples = str(out / "samples.safetensors")
    app(
        ["int8", str(copy), "--samples", samples, "--report", str(out / processor), *target],
        standalone_mode=False,
    )
    measured = Bundle.open(copy).manifest.provenance.parity["int8"]
    print(f"\n### For a {processor.upper()}\n")
    print("| network | ranges | spared | relative L2 | cosine | bytes | a second | SM80 |")
    print("|---|---|---|---|---|---|---|---|")
    for name in NETWORK_NAMES:
        one = measured[name]
        speed = one["items_per_second"]
        base = next(precision for precision in speed if precision != "int8")
        compiled = one.get("compiled")
        built = "" if compiled is None else compiled["refusal"] or f"{compiled['bytes']} bytes"
        print(
            f"| {name} | {one['ranges']} | {len(one['islands'])} | {one['relative_l2']:.3f} "
            f"| {one['cosine']:.4f} | {one['bytes']} "
            f"| {speed['int8']:.1f}; {base} {speed[base]:.1f} | {built} |"
        )


def int8_networks(bundle: Bundle) -> dict[NetworkName, bytes]:
    """Every network in INT8, as the bundle has it."""
    files = {name: bundle.variant(name, "int8") for name in NETWORK_NAMES}
    return {name: bundle.read(file.file, file.sha256) for name, file in files.items()}


def answers_step(bundle: Bundle, out: Path) -> None:
    """What each precision does to answers about the judging half."""
    lowered: dict[str, dict[NetworkName, bytes]] = {}
    samples = Samples.load(out / "samples.safetensors")
    for name in NETWORK_NAMES:
        everything = half_trial(bundle, name, samples)
        model = everything.lowered(frozenset(everything.modules))
        lowered.setdefault("FP16, rounded", {})[name] = model.SerializeToString()
    if "int8" in bundle.manifest.networks["visual"].variants:
        lowered["INT8, as in the bundle"] = int8_networks(bundle)
    for processor in PROCESSORS:
        copy = out / f"bundle.{processor}"
        if copy.is_dir():
            networks = int8_networks(Bundle.open(copy))
            lowered[f"INT8 for a {processor.upper()}"] = networks
            lowered[f"INT8 for a {processor.upper()}, frames alone"] = {
                "visual": networks["visual"]
            }
    trial = AnswerTrial(bundle, labels_of(out, "judging"), frames=MOST_FRAMES)
    before = trial.accuracy()
    print("\nAnswers to sentences of the judging half\n")
    print("| precision | R@0.5 | mIoU | answers moved | overlap of old and new |")
    print("|---|---|---|---|---|")
    print(f"| the bundle's own | {before.recall:.4f} | {before.overlap:.4f} | | |")
    for title, networks in lowered.items():
        answers = trial.answers(networks)
        after, drift = trial.accuracy(answers), trial.drift(answers)
        print(
            f"| {title} | {after.recall:.4f} | {after.overlap:.4f} "
            f"| {drift.moved:.1%} | {drift.overlap:.4f} |",
            flush=True,
        )
    print(f"\n{len(answers)} sentences")
    trial.close()


def main() -> None:
    """Film, calibrate, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--media", type=Path, default=os.environ.get("VTLOC_TEST_MEDIA"))
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE)
    parser.add_argument("--videos", type=int, default=70, help="in each half")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", choices=STEPS, action="append", help="may be repeated")
    options = parser.parse_args()
    if options.media is None:
        print("calibration: skipped, no folder of real files (set VTLOC_TEST_MEDIA)")
        return
    with tempfile.TemporaryDirectory() as scratch:
        out = options.out or Path(scratch)
        bundle = Bundle.open(options.bundle)
        for step in options.only or STEPS:
            run(step, bundle, out, media=Path(options.media), videos=options.videos)


def run(step: str, bundle: Bundle, out: Path, *, media: Path, videos: int) -> None:
    """One step, in a folder that holds what the steps before it left."""
    if step == "film":
        for index, half in enumerate(HALVES):
            film_half(media / "photos", out / "films" / half, half=index, videos=videos)
    elif step == "scores":
        scores_step(bundle, out)
    elif step == "answers":
        answers_step(bundle, out)
    else:
        samples = samples_of(bundle, out)
        if step == "half":
            studies = half_studies(bundle, samples)
            print_half(studies)
            plot_sensitivity(studies, out / "sensitivity.fp16.svg")
        else:
            print_ranges(bundle, samples)
            for processor in PROCESSORS:
                int8_step(bundle, out, processor)


def samples_of(bundle: Bundle, out: Path) -> Samples:
    """Samples of the calibrating half, drawn once."""
    file = out / "samples.safetensors"
    if not file.is_file():
        asked: dict[Path, list[str]] = {}
        for query in labels_of(out, "calibrating"):
            asked.setdefault(query.video, []).append(query.query)
        amount = Amount(videos=20, frames=160, frames_per_video=8)
        videos = [SampledVideo(video, tuple(queries)) for video, queries in asked.items()]
        draw_samples(bundle, videos, amount=amount, precision="compact").save(file)
    return Samples.load(file)


if __name__ == "__main__":
    main()
