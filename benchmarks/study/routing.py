"""Which parts of the localizer earn their place: routing, agreement, fusion, temporal block.

Three studies. ``parts`` takes the default bundle's schedule and takes one part away, or adds one;
``order`` trains on sentences that say which of two occurrences they mean; ``paper`` follows the
paper's optimizer and epochs and climbs its ladder (table 3). Within a study every arm is trained
alike: the same timelines in the same order, the same schedule and seeds. It is then asked about
sets that no training saw. Finished runs are kept in a results file and not repeated; without
``--train`` it only prints their tables.

    python -m benchmarks.study.routing --train --media DIR --study parts

With ``--judge`` it asks finished checkpoints about larger sets of the same kinds instead.

    python -m benchmarks.study.routing --media DIR --judge CHECKPOINT
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeAlias

import numpy as np
import torch

from benchmarks.study.arms import ARMS, FULL, LADDER, RECIPE, ROUTINGS, STUDIES, WITHOUT
from benchmarks.study.sets import Kept, composed_sets, keep, real_sets
from recipes.default_bundle.source import TEXT_ENCODER, VISUAL_ENCODER, Encoders, TimelineSource
from vtloc.annotations.examples import Example
from vtloc.evaluation.baselines import best_constant_window, constant_window, whole_video
from vtloc.evaluation.metrics import Scores, score
from vtloc.evaluation.prediction import evaluate_network
from vtloc.model import LocalizerConfig, LocalizerNetwork, load_checkpoint
from vtloc.model.samples import Sample
from vtloc.training import TrainingConfig, seeded_network, train

if TYPE_CHECKING:
    from vtloc_runtime.bundle.manifest import DecodingStrategy
    from vtloc_runtime.localize.moments import Moment

SIMILARITY = "similarity span"
VALIDATION = 64
UNTRAINED = ("whole video", "best constant window", SIMILARITY)
Sets: TypeAlias = dict[str, list[Sample]]
Found: TypeAlias = dict[str, list[float]]
"""R@0.5 and mIoU by the set's name."""
Row: TypeAlias = dict[str, Any]
"""One finished run: study, arm, seed, scores."""


def asked(network: LocalizerNetwork, sets: Sets, strategy: DecodingStrategy) -> Found:
    """What a network scores on every set."""
    return {
        name: plain(evaluate_network(network, samples, strategy=strategy))
        for name, samples in sets.items()
    }


def untrained(network: LocalizerNetwork, sets: Sets, training: Kept) -> dict[str, Found]:
    """What is scored without any training: blindly, and by the cosines alone."""
    window = best_constant_window([example(one) for one in training.epochs[0] if one.moments])
    blind: dict[str, Callable[[Example], tuple[Moment, ...]]] = {
        "whole video": whole_video,
        "best constant window": lambda one: constant_window(one, window),
    }
    found = {
        name: {
            key: plain(score((one.moments, answer(example(one))) for one in samples))
            for key, samples in sets.items()
        }
        for name, answer in blind.items()
    }
    return found | {SIMILARITY: asked(network, sets, "similarity")}


def example(sample: Sample) -> Example:
    """A sample without its features."""
    return Example(sample.id, sample.id, sample.duration, "", sample.moments)


def plain(scores: Scores) -> list[float]:
    """R@0.5 and mIoU."""
    return [scores.recall[1, 0.5], scores.mean_iou]


def table(rows: Sequence[Row], names: Sequence[str], arms: Sequence[str]) -> None:
    """Print mean mIoU and its spread over seeds, an arm a row."""
    print("\n| arm | seeds | " + " | ".join(names) + " | mean |")
    print("|---" * (len(names) + 3) + "|")
    for arm in arms:
        runs = [row for row in rows if row["arm"] == arm]
        values = np.array([[row["scores"][name][1] for name in names] for row in runs])
        values = np.column_stack([values, values.mean(axis=1)])
        cells = [
            f"{mean:.1f} ± {spread:.1f}" if len(runs) > 1 else f"{mean:.1f}"
            for mean, spread in zip(
                values.mean(axis=0), values.std(axis=0, ddof=len(runs) > 1), strict=True
            )
        ]
        print(f"| {arm} | {len(runs)} | " + " | ".join(cells) + " |")


def differences(rows: Sequence[Row], names: Sequence[str]) -> None:
    """Print what each form of routing gains over none, and each other arm over the full network."""

    def mean(row: Row) -> float:
        return float(np.mean([row["scores"][name][1] for name in names]))

    print("\n| arm | less | mean over the sets, seed by seed |\n|---|---|---|")
    for arm in in_order(rows):
        base = WITHOUT if arm in ROUTINGS else FULL
        if arm not in ARMS or arm in {base, WITHOUT}:
            continue
        bases = {row["seed"]: mean(row) for row in rows if row["arm"] == base}
        runs = [row for row in rows if row["arm"] == arm and row["seed"] in bases]
        gains = [mean(row) - bases[row["seed"]] for row in runs]
        print(f"| {arm} | {base} | {', '.join(f'{gain:+.1f}' for gain in gains)} |")


def in_order(rows: Sequence[Row]) -> list[str]:
    """The arms that ran, as they are declared above."""
    ran = {row["arm"] for row in rows}
    return [arm for arm in (*UNTRAINED, *LADDER, *ARMS) if arm in ran]


def main() -> None:
    """Train what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--media", type=Path, default=os.environ.get("VTLOC_TEST_MEDIA"))
    parser.add_argument("--results", type=Path, default=Path(__file__).with_suffix(".jsonl"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--study", choices=STUDIES, default="parts")
    parser.add_argument("--train", action="store_true", help="train the runs that are missing")
    parser.add_argument("--judge", type=Path, nargs="+", help="checkpoints; nothing is trained")
    options = parser.parse_args()
    if options.judge:
        judge(options.judge, options.media)
        return
    everything = read_rows(options.results)
    rows = [row for row in everything if row["study"] == options.study]
    if options.train:
        run(options.study, options.media, options.results, options.seeds, rows)
    if rows:
        names = list(rows[0]["scores"])
        table(rows, names, in_order(rows))
        differences(rows, names)
    else:
        print(f"routing: nothing measured yet for {options.study}; --train does it")


def judge(checkpoints: Sequence[Path], media: Path | None) -> None:
    """Print how finished checkpoints answer."""
    torch.set_num_threads(1)
    sets = every_set(Encoders.load(), media, queries=240, videos=40)
    rows: list[Row] = [
        {"arm": str(path), "scores": asked(load_checkpoint(path).network, sets, "joint")}
        for path in checkpoints
    ]
    table(rows, list(sets), [row["arm"] for row in rows])


def every_set(encoders: Encoders, media: Path | None, *, queries: int, videos: int) -> Sets:
    """Composed sets, and those of pictures where there is a folder of them."""
    sets = composed_sets(encoders, queries)
    return sets if media is None else sets | real_sets(encoders, media, videos)


def read_rows(results: Path) -> list[Row]:
    """The finished runs."""
    return (
        [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    )


def run(name: str, media: Path | None, results: Path, seeds: int, rows: list[Row]) -> None:
    """Train and judge every arm and seed of a study that the results file lacks."""
    torch.set_num_threads(1)
    study = STUDIES[name]
    wanted = [(arm, seed) for seed in range(seeds) for arm in list(study.arms)[: study.main]]
    wanted += [(arm, 0) for arm in list(study.arms)[study.main :]]
    missing = [pair for pair in wanted if pair not in {(row["arm"], row["seed"]) for row in rows}]
    if not missing:
        return
    encoders = Encoders.load()
    sets = every_set(encoders, media, queries=80, videos=14)
    source = keep(
        TimelineSource(
            encoders,
            "training",
            seed=11,
            samples=study.samples,
            config=study.composition,
            footage=RECIPE.footage,
        ),
        study.kept,
    )
    validation = keep(
        TimelineSource(
            encoders,
            "held-out",
            seed=12,
            samples=VALIDATION,
            config=replace(study.composition, absent=0.0),
            footage=RECIPE.footage,
        ),
        1,
    )
    with results.open("a") as journal:
        if not rows:
            network = LocalizerNetwork(widths(encoders))
            for arm, found in untrained(network, sets, source).items():
                record(journal, rows, {"study": name, "arm": arm, "seed": 0, "scores": found})
        for arm, seed in missing:
            training = replace(study.training, seed=seed)
            network = trained(encoders, study.arms[arm], training, source, validation)
            found = asked(network, sets, "joint")
            row = {"study": name, "arm": arm, "seed": seed, "scores": found}
            record(journal, rows, row)


def widths(encoders: Encoders, **choices: object) -> LocalizerConfig:
    """The network for these encoders."""
    return RECIPE.localizer_config(
        feature_dim=encoders.visual.dimension,
        token_dim=encoders.text.token_dimension,
        shared_space=encoders.shared_space,
        **choices,
    )


def trained(
    encoders: Encoders,
    choices: Mapping[str, object],
    training: TrainingConfig,
    source: Kept,
    validation: Kept,
) -> LocalizerNetwork:
    """A network of one arm, as its best epoch left it."""
    network = seeded_network(widths(encoders, **choices), seed=training.seed)
    with tempfile.TemporaryDirectory() as folder:
        result = train(
            network,
            source,
            validation,
            folder=Path(folder),
            visual_encoder=VISUAL_ENCODER,
            text_encoder=TEXT_ENCODER,
            config=training,
            losses=RECIPE.losses,
        )
        return load_checkpoint(result.checkpoint).network


def record(journal: TextIO, rows: list[Row], row: Row) -> None:
    """Keep a finished run."""
    rows.append(row)
    journal.write(json.dumps(row) + "\n")
    journal.flush()
    mean = np.mean([mean_iou for _, mean_iou in row["scores"].values()])
    print(f"{row['arm']}, seed {row['seed']}: mean mIoU {mean:.1f}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
