"""Which parts of the localizer earn their place: routing, agreement, fusion, temporal block.

Every arm is trained alike: the same timelines in the same order, the same schedule, and the same
seeds. It is then asked about sets that no training saw. Finished runs are kept in a results file
beside this script and not repeated; without ``--train`` it only prints their tables. Training
takes about a minute of one core for each arm and seed.

    python benchmarks/routing.py --train --media DIR
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TextIO

import numpy as np
import torch
from accuracy import caltech, coco, film, imagenet, labelled

from vtloc.data.samples import Sample
from vtloc.evaluation.network import evaluate_network
from vtloc.model import LocalizerConfig, LocalizerNetwork, load_checkpoint
from vtloc.timelines.composition import CompositionConfig
from vtloc.timelines.footage import FootageConfig
from vtloc.timelines.recipe import Recipe
from vtloc.timelines.source import TEXT_ENCODER, VISUAL_ENCODER, Encoders, TimelineSource
from vtloc.training import seeded_network, train
from vtloc_runtime import Localizer

FULL = "full: routing by the sentence"
# The recipe itself routes nothing, so every arm says that it does.
ARMS: dict[str, dict[str, object]] = {
    FULL: {"routing": True},
    "no routing": {"routing": False},
    "agreement as printed (11)": {"routing": True, "agreement": "printed"},
    "agreement u.v alone": {"routing": True, "agreement": "votes"},
    "additive fusion": {"routing": True, "fusion": "additive"},
    "no temporal block after fusion": {"routing": True, "blocks_after_fusion": 0},
    "no similarity channels": {"routing": True, "similarity_channels": False},
    "no multi-scale encoder": {"routing": True, "multiscale": False},
    "paper as printed": {
        "routing": True,
        "agreement": "printed",
        "fusion": "additive",
        "blocks_after_fusion": 0,
        "similarity_channels": False,
    },
}
MAIN_ARMS = 3
"""The first arms carry the main claim and get every seed; the others get one."""

RECIPE = Recipe.read()
EPOCHS, SAMPLES, VALIDATION = 4, 800, 64
FRAMES = (16, 32)


@dataclass(frozen=True, slots=True)
class Kept:
    """Samples made once and given to every arm alike.

    Attributes:
        epochs: The samples of each epoch.
    """

    epochs: tuple[tuple[Sample, ...], ...]

    def __len__(self) -> int:
        return len(self.epochs[0])

    def epoch(self, number: int) -> Iterator[Sample]:
        """The samples of an epoch, widened again from half precision."""
        for sample in self.epochs[number]:
            yield replace(sample, features=sample.features.astype(np.float32))


def keep(source: TimelineSource, epochs: int) -> Kept:
    """Compose every epoch of a source; features are held in half precision."""
    return Kept(
        tuple(
            tuple(
                replace(sample, features=sample.features.astype(np.float16))
                for sample in source.epoch(number)
            )
            for number in range(epochs)
        )
    )


def composed_sets(encoders: Encoders, count: int) -> dict[str, list[Sample]]:
    """Timelines of concepts and sentences kept out of training, by what they test."""
    plain = CompositionConfig(frames=FRAMES, absent=0.0, companion=0.0, repeated=0.0)
    still = FootageConfig()
    moving = FootageConfig(fixed_camera=1.0, drift=(0.6, 0.9), hidden=1.0)
    chosen = {
        "held-out classes": (replace(plain, relations=(("name", 1.0),)), still),
        "synonyms": (replace(plain, relations=(("synonym", 1.0),)), still),
        "hypernyms": (replace(plain, relations=(("kind", 1.0),)), still),
        "several segments": (replace(plain, repeated=1.0, segments=(4, 7)), still),
        "two things at once": (replace(plain, companion=1.0), still),
        "footage-like, hard": (replace(plain, hard=1.0, empty=0.3), moving),
    }
    return {
        name: list(
            TimelineSource(
                encoders, "held-out", seed=77, samples=count, config=config, footage=footage
            ).epoch(0)
        )
        for name, (config, footage) in chosen.items()
    }


def real_sets(encoders: Encoders, media: Path, videos: int) -> dict[str, list[Sample]]:
    """Filmed photographs and labelled footage, through the runtime's reader."""
    photos = media / "photos"
    found: dict[str, list[Sample]] = {}
    with tempfile.TemporaryDirectory() as folder, Localizer.open() as localizer:
        sources = {
            "COCO photographs": film(coco(photos), Path(folder), videos, 1),
            "Caltech photographs": film(caltech(photos), Path(folder), videos, 1),
            "ImageNet photographs": film(imagenet(photos), Path(folder), videos, 1),
            "real videos": labelled(media / "videos"),
        }
        for name, source in sources.items():
            found[name] = []
            for path, examples in source:
                video = localizer.encode_video(path)
                tokens = encoders.tokens([example.query for example in examples])
                found[name] += [
                    Sample(
                        example.id,
                        video.features,
                        states,
                        example.moments,
                        video.times,
                        video.duration,
                    )
                    for example, states in zip(examples, tokens, strict=True)
                ]
    return found


def scores(network: LocalizerNetwork, sets: dict[str, list[Sample]], strategy: str) -> dict:
    """R@0.5 and mIoU on every set."""
    judged = {
        name: evaluate_network(network, set_, strategy=strategy) for name, set_ in sets.items()
    }
    return {name: [one.recall[1, 0.5], one.mean_iou] for name, one in judged.items()}


def table(rows: Sequence[dict], names: Sequence[str]) -> None:
    """Print mean mIoU and its spread over seeds, an arm a row."""
    print("\n| arm | seeds | " + " | ".join(names) + " | mean |")
    print("|---" * (len(names) + 3) + "|")
    for arm in dict.fromkeys(row["arm"] for row in rows):
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


def differences(rows: Sequence[dict], names: Sequence[str]) -> None:
    """Print what the full network gains over each arm, seed by seed."""
    full = {row["seed"]: row for row in rows if row["arm"] == FULL}
    print("\nFull minus arm, mean mIoU over the sets, seed by seed:\n")
    for arm in dict.fromkeys(
        row["arm"] for row in rows if row["arm"] not in {FULL, "similarity span"}
    ):
        gains = [
            np.mean([full[row["seed"]]["scores"][n][1] - row["scores"][n][1] for n in names])
            for row in rows
            if row["arm"] == arm and row["seed"] in full
        ]
        print(f"- {arm}: {', '.join(f'{gain:+.1f}' for gain in gains)}")


def main() -> None:
    """Train what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--media", type=Path, default=os.environ.get("VTLOC_TEST_MEDIA"))
    parser.add_argument("--results", type=Path, default=Path(__file__).with_suffix(".jsonl"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--train", action="store_true", help="train the runs that are missing")
    options = parser.parse_args()
    rows = (
        [json.loads(line) for line in options.results.read_text().splitlines()]
        if (options.results.exists())
        else []
    )
    if options.train:
        run(options.media, options.results, options.seeds, rows)
    if rows:
        names = list(rows[0]["scores"])
        table(rows, names)
        differences(rows, names)


def run(media: Path | None, results: Path, seeds: int, rows: list[dict]) -> None:
    """Train and judge every arm and seed that the results file lacks."""
    torch.set_num_threads(1)
    wanted = [(arm, seed) for seed in range(seeds) for arm in list(ARMS)[:MAIN_ARMS]]
    wanted += [(arm, 0) for arm in list(ARMS)[MAIN_ARMS:]]
    missing = [pair for pair in wanted if pair not in {(row["arm"], row["seed"]) for row in rows}]
    if not missing:
        return
    encoders = Encoders.load()
    sets = composed_sets(encoders, 80)
    if media is not None:
        sets |= real_sets(encoders, media, 14)
    composition = replace(RECIPE.composition, frames=FRAMES)
    source = keep(
        TimelineSource(
            encoders,
            "training",
            seed=11,
            samples=SAMPLES,
            config=composition,
            footage=RECIPE.footage,
        ),
        EPOCHS,
    )
    validation = keep(
        TimelineSource(
            encoders,
            "held-out",
            seed=12,
            samples=VALIDATION,
            config=replace(composition, absent=0.0),
            footage=RECIPE.footage,
        ),
        1,
    )
    with results.open("a") as journal:
        if not rows:
            network = LocalizerNetwork(widths(encoders))
            record(journal, rows, "similarity span", 0, scores(network, sets, "similarity"))
        for arm, seed in missing:
            network = trained(encoders, ARMS[arm], seed, source, validation)
            record(journal, rows, arm, seed, scores(network, sets, "joint"))


def widths(encoders: Encoders, **choices: object) -> LocalizerConfig:
    """The network for these encoders."""
    return RECIPE.localizer_config(
        feature_dim=encoders.visual.dimension,
        token_dim=encoders.text.token_dimension,
        shared_space=encoders.shared_space,
        **choices,
    )


def trained(
    encoders: Encoders, choices: dict[str, object], seed: int, source: Kept, validation: Kept
) -> LocalizerNetwork:
    """A network of one arm, as its best epoch left it."""
    training = replace(RECIPE.training, seed=seed, epochs=EPOCHS, patience=EPOCHS)
    network = seeded_network(widths(encoders, **choices), seed=seed)
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


def record(journal: TextIO, rows: list[dict], arm: str, seed: int, found: dict) -> None:
    """Keep a finished run."""
    row = {"arm": arm, "seed": seed, "scores": found}
    rows.append(row)
    journal.write(json.dumps(row) + "\n")
    journal.flush()
    mean = np.mean([mean_iou for _, mean_iou in found.values()])
    print(f"{arm}, seed {seed}: mean mIoU {mean:.1f}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
