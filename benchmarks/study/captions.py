"""Does routing pay on real moments, and does the paper's ladder appear? Trained and asked here.

The data are real queries with real moments, QVHighlights' validation split, in videos that are
seen through captions: the sentence vector of a caption stands for a frame, every two seconds.
Five folds by video; each network is trained on the other four and asked about its own. Every
network of a fold sees the same samples in the same order. Weights trained here are thrown away.

    python -m benchmarks.study.captions --media DIR --scratch DIR --train

Finished runs are kept in a results file and not repeated; without ``--train`` the tables of what
is there are printed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeAlias

import numpy as np
import torch

from benchmarks.study.arms import ARMS, FULL, LADDER, PARTS, SCHEDULES, WITHOUT, Choices
from benchmarks.study.caption_set import FOLDS, RATE, CaptionQuery, load_captions
from vtloc.model import LocalizerConfig, LocalizerNetwork, load_checkpoint
from vtloc.model.samples import Sample, collate
from vtloc.training import TrainingConfig, seeded_network, train
from vtloc_runtime.localize.spans.moments import Moment

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDTH = 384
BATCH = 32
WEIGHT = 12.0
"""What a correlation of one is worth beside the two logits, in ``combined``."""
DECODINGS = ("alone", "combined")
SIMILARITY = "similarity, no training"
RESAMPLES = 2000
Row: TypeAlias = dict[str, Any]
"""One finished run: arm, schedule, fold, seed, best epoch, and each query's IoU by decoding."""


@dataclass(frozen=True, slots=True)
class Shuffled:
    """Training samples, shuffled anew each epoch, half of them cropped.

    Attributes:
        queries: What to learn from.
    """

    queries: tuple[CaptionQuery, ...]

    def __len__(self) -> int:
        return len(self.queries)

    def epoch(self, number: int) -> Iterator[Sample]:
        """The samples of an epoch, the same for every network."""
        rng = np.random.default_rng((7, number))
        for index in rng.permutation(len(self.queries)):
            sample = self.queries[index].sample
            yield crop(sample, rng) if rng.random() < 0.5 else sample


@dataclass(frozen=True, slots=True)
class InOrder:
    """Samples to validate on.

    Attributes:
        queries: What to ask.
    """

    queries: tuple[CaptionQuery, ...]

    def __len__(self) -> int:
        return len(self.queries)

    def epoch(self, number: int) -> Iterator[Sample]:
        """The samples, whatever the epoch."""
        del number
        for query in self.queries:
            yield query.sample


def crop(sample: Sample, rng: np.random.Generator) -> Sample:
    """A stretch of a video that still shows a moment; the whole where the stretch does not."""
    frames = len(sample.features)
    first = int(rng.integers(0, max(1, frames // 3)))
    stop = frames - int(rng.integers(0, max(1, frames // 3)))
    low, high = first / RATE, stop / RATE
    moments = tuple(
        Moment(max(one.start, low) - low, min(one.end, high) - low, 1.0)
        for one in sample.moments
        if min(one.end, high) - max(one.start, low) >= 1 / RATE
    )
    if not moments:
        return sample
    return Sample.evenly(
        sample.id, sample.features[first:stop], sample.tokens, moments, frames_per_second=RATE
    )


def trained(
    choices: Choices,
    training: TrainingConfig,
    learnt: Sequence[CaptionQuery],
    validation: Sequence[CaptionQuery],
) -> tuple[LocalizerNetwork, int]:
    """A network of one arm, as its best epoch left it, and that epoch's number."""
    config = LocalizerConfig.from_json(
        {"feature_dim": WIDTH, "token_dim": WIDTH, "shared_space": (0, WIDTH), **choices}
    )
    with tempfile.TemporaryDirectory() as folder:
        result = train(
            seeded_network(config, seed=training.seed),
            Shuffled(tuple(learnt)),
            InOrder(tuple(validation)),
            folder=Path(folder),
            visual_encoder="captions",
            text_encoder="minilm",
            config=training,
        )
        return load_checkpoint(result.checkpoint).network, result.best_epoch


@torch.inference_mode()
def asked(network: LocalizerNetwork, queries: Sequence[CaptionQuery]) -> dict[str, list[float]]:
    """The IoU of each query's first answer with the nearest true moment, by decoding."""
    network.eval()
    found: dict[str, list[float]] = {name: [] for name in DECODINGS}
    for top in range(0, len(queries), BATCH):
        group = queries[top : top + BATCH]
        batch = collate([query.sample for query in group], sigma=1.0)
        output = network(batch.features, batch.frame_mask, batch.tokens, batch.token_mask)
        for query, starts, ends in zip(
            group, output.start_logits.numpy(), output.end_logits.numpy(), strict=True
        ):
            first, last = spans(query)
            logits = starts[first].astype(np.float64) + ends[last]
            found["alone"].append(overlap(query, int(logits.argmax())))
            both = logits + WEIGHT * correlations(query)
            found["combined"].append(overlap(query, int(both.argmax())))
    return found


def untrained(queries: Sequence[CaptionQuery]) -> list[float]:
    """The same for the span whose indicator correlates best with the curve of cosines."""
    return [overlap(query, int(correlations(query).argmax())) for query in queries]


def spans(query: CaptionQuery) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First and last frames of every span of a video.

    Every span is weighed, and none is moved to a change point: networks are compared here, not
    decodings.
    """
    return np.triu_indices(len(query.sample.features))


def correlations(query: CaptionQuery) -> NDArray[np.float64]:
    """Pearson's correlation of each span's indicator with the curve of cosines."""
    curve = (query.sample.features @ query.sentence).astype(np.float64)
    first, last = spans(query)
    deviations = curve - curve.mean()
    sums = np.concatenate([[0.0], np.cumsum(deviations)])
    share = (last - first + 1) / len(curve)
    scale = np.sqrt(len(curve) * share * (1 - share)) * np.linalg.norm(deviations)
    totals = sums[last + 1] - sums[first]
    # The whole video's indicator is constant: it correlates with nothing.
    found: NDArray[np.float64] = np.divide(
        totals, scale, out=np.zeros_like(totals), where=share < 1
    )
    return found


def overlap(query: CaptionQuery, span: int) -> float:
    """IoU of a span with the nearest true moment."""
    first, last = spans(query)
    moment = Moment(first[span] / RATE, (last[span] + 1) / RATE, 1.0)
    return round(max(moment.overlap(true) for true in query.sample.moments), 4)


def run(options: argparse.Namespace, rows: list[Row]) -> None:
    """Train and ask every network that the results file lacks, fold by fold."""
    torch.set_num_threads(1)
    queries = load_captions(options.media, options.scratch)
    done = {(row["schedule"], row["arm"], row["fold"], row["seed"]) for row in rows}
    arms = [name for name in ARMS if not options.arms or any(one in name for one in options.arms)]
    with options.results.open("a") as journal:
        for seed in range(options.seeds):
            for fold in range(options.folds):
                own = [query for query in queries if query.fold == fold]
                rest = [query for query in queries if query.fold != fold]
                # One video in ten of those learnt from tells which epoch was best.
                validation = [query for query in rest if query.video % 10 == 0]
                learnt = [query for query in rest if query.video % 10]
                base = {"fold": fold, "videos": [query.video for query in own]}
                if (None, SIMILARITY, fold, 0) not in done and not seed:
                    found = dict.fromkeys(DECODINGS, untrained(own))
                    row = {"schedule": None, "arm": SIMILARITY, "seed": 0, **base, "ious": found}
                    record(journal, rows, row)
                    done.add((None, SIMILARITY, fold, 0))
                for arm in arms:
                    if (options.schedule, arm, fold, seed) in done:
                        continue
                    training = replace(SCHEDULES[options.schedule], seed=seed)
                    network, best = trained(ARMS[arm], training, learnt, validation)
                    found = asked(network, own)
                    head = {"schedule": options.schedule, "arm": arm, "seed": seed}
                    record(journal, rows, {**head, "best_epoch": best, **base, "ious": found})


def record(journal: TextIO, rows: list[Row], row: Row) -> None:
    """Keep a finished run."""
    rows.append(row)
    journal.write(json.dumps(row) + "\n")
    journal.flush()
    means = ", ".join(f"{name} {100 * np.mean(one):.1f}" for name, one in row["ious"].items())
    best = f", best epoch {row['best_epoch']}" if "best_epoch" in row else ""
    print(f"{row['arm']}, fold {row['fold']}, seed {row['seed']}: {means}{best}", file=sys.stderr)


def table(rows: Sequence[Row], arms: Sequence[str]) -> None:
    """Print R@0.5, R@0.7 and mIoU of every arm, and how many runs there were."""
    heads = [f"{name} R@0.5 / R@0.7 / mIoU" for name in DECODINGS]
    print("\n| network | runs | " + " | ".join(heads) + " |\n|---" + "|---" * 3 + "|")
    for arm in arms:
        runs = [row for row in rows if row["arm"] == arm]
        cells = []
        for decoding in DECODINGS:
            values = np.concatenate([row["ious"][decoding] for row in runs])
            figures = ((values >= 0.5).mean(), (values >= 0.7).mean(), values.mean())
            cells.append(" / ".join(f"{100 * figure:.1f}" for figure in figures))
        print(f"| {arm} | {len(runs)} | " + " | ".join(cells) + " |")


def differences(rows: Sequence[Row], pairs: Sequence[tuple[str, str]]) -> None:
    """Print the gain in mIoU of one network over another, with its interval over videos."""
    heads = " | ".join(f"{name}, mIoU" for name in DECODINGS)
    print(f"\n| network | over | runs | {heads} |\n|---|---|---|---|---|")
    for one, other in pairs:
        shared = paired(rows, one, other)
        if not shared:
            continue
        cells = []
        for decoding in DECODINGS:
            mean, low, high = gain(shared, decoding)
            cells.append(f"{mean:+.1f} ({low:+.1f} to {high:+.1f})")
        print(f"| {one} | {other} | {len(shared)} | " + " | ".join(cells) + " |")


def paired(rows: Sequence[Row], one: str, other: str) -> list[tuple[Row, Row]]:
    """Runs of two arms of the same fold and seed; what is not trained has but one seed."""
    bases = {(row["fold"], row["seed"]): row for row in rows if row["arm"] == other}
    pairs = []
    for row in rows:
        seed = 0 if other == SIMILARITY else row["seed"]
        if row["arm"] == one and (row["fold"], seed) in bases:
            pairs.append((row, bases[row["fold"], seed]))
    return pairs


def gain(pairs: Sequence[tuple[Row, Row]], decoding: str) -> tuple[float, float, float]:
    """Mean difference in IoU, percent, with its 95 % interval over resampled videos."""
    groups: dict[int, list[float]] = defaultdict(list)
    for one, other in pairs:
        for video, first, second in zip(
            one["videos"], one["ious"][decoding], other["ious"][decoding], strict=True
        ):
            groups[video].append(100 * (first - second))
    sums = np.array([sum(group) for group in groups.values()])
    counts = np.array([len(group) for group in groups.values()])
    drawn = np.random.default_rng(0).integers(len(sums), size=(RESAMPLES, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(sums.sum() / counts.sum()), float(low), float(high)


def main() -> None:
    """Train what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--media", type=Path, default=os.environ.get("VTLOC_TEST_MEDIA"))
    parser.add_argument("--scratch", type=Path, help="where vectors and results are kept")
    parser.add_argument("--schedule", choices=SCHEDULES, default="short")
    parser.add_argument("--folds", type=int, default=FOLDS)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--arms", nargs="+", help="only networks with one of these in their name")
    parser.add_argument("--train", action="store_true", help="train the runs that are missing")
    options = parser.parse_args()
    if options.scratch is None:
        print("captions: give --scratch, a folder for vectors and results")
        return
    options.results = options.scratch / "captions-study.jsonl"
    rows: list[Row] = []
    if options.results.exists():
        rows = [json.loads(line) for line in options.results.read_text().splitlines()]
    if options.train:
        run(options, rows)
    folds = {row["fold"] for row in rows if row["schedule"] == options.schedule}
    shown = {options.schedule, None}
    rows = [row for row in rows if row["schedule"] in shown and row["fold"] in folds]
    if not rows:
        print("captions: nothing measured yet; --train does it")
        return
    ran = {row["arm"] for row in rows}
    table(rows, [arm for arm in (SIMILARITY, *ARMS) if arm in ran])
    first, *further = LADDER
    pairs = [(arm, WITHOUT) for arm in ARMS if arm not in {*LADDER, *PARTS, WITHOUT}]
    pairs += [(arm, FULL) for arm in PARTS]
    pairs += [(arm, first) for arm in further]
    pairs += [(arm, SIMILARITY) for arm in (WITHOUT, FULL)]
    differences(rows, pairs)


if __name__ == "__main__":
    main()
