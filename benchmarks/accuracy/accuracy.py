"""How often the default bundle is right: through the runtime, on real pictures and footage.

Photographs that no training saw are filmed into mp4 files and decoded again; labelled videos are
taken as they are, and every answer about them is printed, wrong ones included. Needs the folder of
real files: ``python -m benchmarks.accuracy.accuracy --media DIR``, or VTLOC_TEST_MEDIA.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np

from benchmarks.accuracy.captions import caption_videos
from benchmarks.accuracy.montage import montages
from recipes.films.photographs import Shot, write_video
from vtloc.annotations.examples import Example, annotated
from vtloc.evaluation.baselines import best_constant_window, constant_window, whole_video
from vtloc.evaluation.metrics import Scores, score
from vtloc_runtime import EncodedVideo, Localizer
from vtloc_runtime.bundle.bundle import DEFAULT_BUNDLE, Bundle
from vtloc_runtime.localize.spans.moments import Moment

MONTAGES = "montages of real footage"
CAPTIONS = "QVHighlights val, seen through captions"
REAL: dict[str, Path | None] = {
    "real videos": None,
    "real videos, further labels": Path(__file__).with_name("labels.jsonl"),
}
RANDOM_SPANS = 20
RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Photograph:
    """A picture, and the words that people have for it.

    Attributes:
        path: The file.
        subject: What it shows; no video holds two of one subject.
        sentences: Sentences that describe it.
    """

    path: Path
    subject: str
    sentences: tuple[str, ...]


@dataclass(slots=True)
class Judged:
    """A test set's queries, each with the answer of every method.

    Attributes:
        title: For tables.
        examples: The queries with their labels.
        answers: By method, an answer a query.
    """

    title: str
    examples: list[Example] = field(default_factory=list)
    answers: dict[str, list[tuple[Moment, ...]]] = field(default_factory=dict)


def coco(folder: Path) -> list[Photograph]:
    """Photographs with the captions that people wrote for them."""
    lines = (folder / "coco" / "captions.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    files = {path.name: path for path in (folder / "coco").rglob("*.jpg")}
    return [
        Photograph(files[row["file"]], row["file"], tuple(row["captions"]))
        for row in rows
        if row["file"] in files
    ]


def caltech(folder: Path) -> list[Photograph]:
    """Photographs of Caltech-101's categories, asked for by name."""
    return [
        Photograph(path, path.parent.name, _by_name(path.parent.name))
        for path in sorted((folder / "caltech101").rglob("*.jpg"))
        if not path.parent.name.startswith("BACKGROUND")
    ]


def imagenet(folder: Path) -> list[Photograph]:
    """Photographs of ImageNet's classes, asked for by name."""
    return [
        Photograph(path, match[1], _by_name(match[1]))
        for path in sorted((folder / "imagenet_samples").iterdir())
        if (match := re.fullmatch(r"n\d+_(.+)", path.stem))
    ]


def _by_name(name: str) -> tuple[str, ...]:
    words = name.replace("_", " ").lower()
    return (f"a photo of a {words}", f"there is a {words}", f"show me the {words}")


def film(
    photographs: Sequence[Photograph], folder: Path, videos: int, seed: int
) -> Iterator[tuple[Path, list[Example]]]:
    """Write videos of 2 to 7 photographs, 20 to 60 seconds long, with a query for each."""
    rng = np.random.default_rng(seed)
    for number in range(videos):
        wanted = int(rng.integers(2, 8))
        chosen: list[Photograph] = []
        for index in rng.permutation(len(photographs)):
            if photographs[index].subject not in {photo.subject for photo in chosen}:
                chosen.append(photographs[index])
            if len(chosen) == wanted:
                break
        length = rng.uniform(20, 60)
        seconds = 2 + (length - 2 * wanted) * rng.dirichlet(np.full(wanted, 1.5))
        seconds = np.round(seconds, 1)
        path = folder / f"{number:03d}.mp4"
        write_video(
            path,
            [Shot(_read(p.path), float(s)) for p, s in zip(chosen, seconds, strict=True)],
            seed=int(rng.integers(2**31)),
        )
        ends = np.cumsum(seconds)
        yield (
            path,
            [
                annotated(
                    f"{number}-{index}",
                    path.name,
                    float(ends[-1]),
                    photo.sentences[int(rng.integers(len(photo.sentences)))],
                    [(float(end - span), float(end))],
                )
                for index, (photo, end, span) in enumerate(zip(chosen, ends, seconds, strict=True))
            ],
        )


def _read(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


def labelled(folder: Path, labels: Path | None = None) -> Iterator[tuple[Path, list[Example]]]:
    """Real videos with the moments that people marked; by default the folder's own labels."""
    text = (labels or folder / "labels.jsonl").read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    for video in dict.fromkeys(row["vid"] for row in rows):
        yield (
            folder / video,
            [
                annotated(
                    str(row["qid"]), video, row["duration"], row["query"], row["relevant_windows"]
                )
                for row in rows
                if row["vid"] == video
            ],
        )


def judge(
    title: str,
    videos: Iterator[tuple[Path | EncodedVideo, list[Example]]],
    methods: dict[str, Localizer],
) -> Judged:
    """Ask every method about every video; a video is decoded and encoded once."""
    judged = Judged(title, answers={name: [] for name in methods})
    encoder = next(iter(methods.values()))
    for path, examples in videos:
        encoded = path if isinstance(path, EncodedVideo) else encoder.encode_video(path)
        judged.examples += examples
        for name, localizer in methods.items():
            found = localizer.localize(encoded, [example.query for example in examples])
            judged.answers[name] += [answer.moments for answer in found]
        print(f"\r{title}: {len(judged.examples)} queries", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return judged


def random_span(example: Example, rng: np.random.Generator) -> tuple[Moment, ...]:
    """Two times drawn evenly over the video."""
    start, end = np.sort(rng.uniform(0, example.duration, 2))
    return (Moment(float(start), float(end), 1.0),)


def blind(judged: Judged, others: Sequence[Example]) -> dict[str, tuple[float, ...]]:
    """The baselines that look at no video, as (R@0.5, R@0.7, mIoU); windows come from others."""
    window = best_constant_window(others)
    rng = np.random.default_rng(0)
    fixed = {
        "whole video": [whole_video(example) for example in judged.examples],
        f"best constant window [{window[0]:.2f}, {window[1]:.2f}]": [
            constant_window(example, window) for example in judged.examples
        ],
    }
    rows: dict[str, tuple[float, ...]] = {
        name: figures(judged.examples, answers) for name, answers in fixed.items()
    }
    drawn = [
        figures(judged.examples, [random_span(example, rng) for example in judged.examples])
        for _ in range(RANDOM_SPANS)
    ]
    rows["random span"] = tuple(float(value) for value in np.mean(drawn, axis=0))
    return rows


def figures(
    examples: Sequence[Example], answers: Sequence[tuple[Moment, ...]]
) -> tuple[float, float, float]:
    """R@0.5, R@0.7 and mIoU, percent."""
    scores: Scores = score(
        (example.moments, answer) for example, answer in zip(examples, answers, strict=True)
    )
    return scores.recall[1, 0.5], scores.recall[1, 0.7], scores.mean_iou


def interval(judged: Judged, first: str, second: str) -> tuple[float, float, float]:
    """The difference of two methods in mIoU, with its 95 % interval over resampled videos."""
    gains: dict[str, list[float]] = {}
    for example, one, two in zip(
        judged.examples, judged.answers[first], judged.answers[second], strict=True
    ):
        gain = overlap(example, one) - overlap(example, two)
        gains.setdefault(example.video, []).append(100 * gain)
    groups = list(gains.values())
    rng = np.random.default_rng(0)
    means = []
    for _ in range(RESAMPLES):
        drawn = [groups[index] for index in rng.integers(len(groups), size=len(groups))]
        means.append(np.mean([gain for group in drawn for gain in group]))
    low, high = np.percentile(means, [2.5, 97.5])
    return float(np.mean([gain for group in groups for gain in group])), float(low), float(high)


def overlap(example: Example, answer: tuple[Moment, ...]) -> float:
    """IoU of the first moment with the nearest true one."""
    return (
        max((answer[0].overlap(true) for true in example.moments), default=0.0) if answer else 0.0
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--media", type=Path, default=os.environ.get("VTLOC_TEST_MEDIA"))
    parser.add_argument("--bundle", type=Path, help="a bundle other than the default one")
    parser.add_argument("--videos", type=int, default=50, help="videos filmed for each set")
    parser.add_argument(
        "--scratch", type=Path, help="where captions' vectors are kept; asks about them, too"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    if options.media is None:
        print("accuracy: skipped, no folder of real files (set VTLOC_TEST_MEDIA)")
        return
    # Every method has to name a moment: what the threshold does is another table's subject.
    bundle = Bundle.open(options.bundle or DEFAULT_BUNDLE).always_answering()
    methods = {
        f"bundle as shipped ({bundle.manifest.decoding.strategy})": Localizer.open(bundle),
        "trained localizer (joint)": Localizer.open(bundle, decoding="joint"),
        "similarity span, no training": Localizer.open(bundle, decoding="similarity"),
    }
    photographs = Path(options.media) / "photos"
    collections = {
        "COCO photographs, human captions": coco(photographs),
        "Caltech-101 photographs, names": caltech(photographs),
        "ImageNet photographs, names": imagenet(photographs),
    }
    sets: list[Judged] = []
    with tempfile.TemporaryDirectory() as folder:
        for title, photos in collections.items():
            videos = film(photos, Path(folder), options.videos, options.seed)
            sets.append(judge(title, videos, methods))
        footage = Path(options.media) / "videos"
        spliced = montages(footage, Path(folder), options.videos, options.seed)
        sets.append(judge(MONTAGES, spliced, methods))
    for title, labels in REAL.items():
        sets.append(judge(title, labelled(footage, labels), methods))
    if options.scratch is not None:
        seen = caption_videos(Path(options.media), options.scratch, bundle)
        sets.append(judge(CAPTIONS, seen, methods))
    report(sets, list(methods), options.json)
    for localizer in methods.values():
        localizer.close()


def report(sets: list[Judged], methods: list[str], output: Path | None) -> None:
    """Print a table a set, then every answer about the real videos."""
    shipped, _, similarity = methods
    written: dict[str, dict[str, object]] = {}
    for judged in sets:
        others = [example for other in sets if other is not judged for example in other.examples]
        rows: dict[str, tuple[float, ...]] = {
            name: figures(judged.examples, answers) for name, answers in judged.answers.items()
        }
        rows |= blind(judged, others)
        videos = len({example.video for example in judged.examples})
        print(f"\n### {judged.title} ({len(judged.examples)} queries, {videos} videos)\n")
        print("| method | R@0.5 | R@0.7 | mIoU |\n|---|---|---|---|")
        for name, (half, seven, mean) in rows.items():
            print(f"| {name} | {half:.1f} | {seven:.1f} | {mean:.1f} |")
        gain, low, high = interval(judged, shipped, similarity)
        print(
            f"\nShipped over similarity span: {gain:+.1f} mIoU "
            f"(95 % over videos: {low:+.1f} to {high:+.1f})"
        )
        written[judged.title] = {"queries": len(judged.examples), "rows": rows}
    print("\n| set | queries | " + " | ".join(f"{name}, R@0.5 / R@0.7 / mIoU" for name in methods)
          + " | shipped over similarity, mIoU |")  # fmt: skip
    print("|---|--:|" + "---|" * (len(methods) + 1))
    for judged in sets:
        cells = (
            " / ".join(f"{value:.1f}" for value in figures(judged.examples, judged.answers[name]))
            for name in methods
        )
        gain, low, high = interval(judged, shipped, similarity)
        print(f"| {judged.title} | {len(judged.examples)} | {' | '.join(cells)} "
              f"| {gain:+.1f} ({low:+.1f} to {high:+.1f}) |")  # fmt: skip
    print("\n| video | sentence | true moments | answer | IoU |\n|---|---|---|---|---|")
    real = [one for one in sets if one.title in REAL]
    answered = [
        pair for one in real for pair in zip(one.examples, one.answers[shipped], strict=True)
    ]
    for example, answer in answered:
        truth = ", ".join(f"{moment.start:g}-{moment.end:g}" for moment in example.moments)
        found = f"{answer[0].start:.1f}-{answer[0].end:.1f}" if answer else "no such moment"
        print(
            f"| {example.video} | {example.query} | {truth} | {found} "
            f"| {overlap(example, answer):.2f} |"
        )
    if output is not None:
        output.write_text(json.dumps(written, indent=2) + "\n")


if __name__ == "__main__":
    main()
