"""Whether scores are probabilities: what the default bundle states, and how often it is right.

    python -m benchmarks.accuracy.scores --media DIR --scratch DIR [--refit]

``--refit`` first calibrates the bundle again: its sentence bank, the map of its scores and its
threshold, on 60 montages of free footage. The other sets take no part in that.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.accuracy.accuracy import (
    REAL,
    RESAMPLES,
    caltech,
    coco,
    film,
    imagenet,
    labelled,
    overlap,
)
from benchmarks.accuracy.captions import caption_videos
from benchmarks.accuracy.montage import montages, write_labelled
from recipes.default_bundle.calibrate import calibrate
from vtloc.annotations.examples import Example
from vtloc_calibration.scores.reliability import expected_calibration_error
from vtloc_runtime import EncodedVideo, Localizer
from vtloc_runtime.bundle.bundle import DEFAULT_BUNDLE, Bundle

FILMS = 50
FITTED_FILMS, FITTED_SEED = 60, 7
RIGHT = 0.5

DATA = "montages of real footage under CC0, CC BY, MIT and BSD, with sentences written by eye"

Videos = Iterable[tuple[EncodedVideo | Path, list[Example]]]


@dataclass(slots=True)
class Stated:
    """What was stated about the best moment of each query, and whether it was right.

    Attributes:
        score: The score of each.
        right: Whether its IoU with a labelled moment is at least one half.
        kept: Whether it is above the threshold of "no such moment".
        video: The video of each.
    """

    score: list[float] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)
    kept: list[bool] = field(default_factory=list)
    video: list[str] = field(default_factory=list)

    def row(self) -> str:
        """Cells of the table: errors are expected calibration errors in ten bins."""
        score, right = np.array(self.score), np.array(self.right)
        rng = np.random.default_rng(0)
        drawn = [
            expected_calibration_error(score, rng.random(len(score)) < score)
            for _ in range(RESAMPLES)
        ]
        low, high = self._interval(rng)
        return (
            f"{len(score):,} | {right.mean():.0%} | {score.mean():.0%} "
            f"| {expected_calibration_error(score, right):.3f} ({low:.3f} to {high:.3f}) "
            f"| {np.mean(drawn):.3f} | {np.mean(self.kept):.1%}"
        )

    def _interval(self, rng: np.random.Generator) -> tuple[float, float]:
        """95 % of the error, over resampled videos."""
        names = {name: place for place, name in enumerate(dict.fromkeys(self.video))}
        owner = np.array([names[name] for name in self.video])
        members = [np.flatnonzero(owner == place) for place in range(len(names))]
        score, right = np.array(self.score), np.array(self.right)
        found = []
        for _ in range(RESAMPLES):
            rows = np.concatenate(
                [members[place] for place in rng.integers(len(members), size=len(members))]
            )
            found.append(expected_calibration_error(score[rows], right[rows]))
        low, high = np.percentile(found, [2.5, 97.5])
        return float(low), float(high)


def state(localizer: Localizer, videos: Videos, threshold: float | None) -> Stated:
    """Ask about every query of some videos.

    Args:
        localizer: Opened on a bundle that always answers.
        videos: Each with its queries.
        threshold: The least margin that is answered; None answers everything.
    """
    found = Stated()
    for video, examples in videos:
        encoded = video if isinstance(video, EncodedVideo) else localizer.encode_video(video)
        answers = localizer.localize(encoded, [example.query for example in examples])
        for example, answer in zip(examples, answers, strict=True):
            found.score.append(0.0 if answer.best is None else answer.best.score)
            found.right.append(overlap(example, answer.moments) >= RIGHT)
            found.kept.append(threshold is None or (answer.presence or 0.0) >= threshold)
            found.video.append(example.video)
    return found


def refit(path: Path, media: Path, folder: Path) -> None:
    """Calibrate a bundle of the default encoders on free footage.

    Args:
        path: The bundle.
        media: The folder of real files.
        folder: Where films are written.
    """
    labels = write_labelled(media / "videos", folder, FITTED_FILMS, FITTED_SEED)
    calibrate(Bundle.open(path), labels, folder, data=DATA)


def print_table(sets: Iterable[tuple[str, Videos]], bundle: Bundle) -> None:
    """Print a line for each set.

    Args:
        sets: Videos by title.
        bundle: Whose scores are judged.
    """
    bank = bundle.manifest.sentence_bank
    threshold = None if bank is None else bank.threshold
    fitted = bundle.manifest.provenance.accuracy.get("scores", {})
    print(f"held-out folds: {fitted.get('expected_calibration_error_held_out', 0):.3f}, "
          f"kept {fitted.get('kept_held_out', 1):.1%}, "
          f"absent rejected {fitted.get('rejected_held_out', 0):.1%}")  # fmt: skip
    print("\n| set | queries | right | mean score | calibration error | by chance | kept |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    with Localizer.open(bundle.always_answering(), threads=1) as localizer:
        for title, videos in sets:
            print(f"| {title} | {state(localizer, videos, threshold).row()} |", flush=True)


def _sets(media: Path, folder: Path, scratch: Path | None, bundle: Bundle) -> Iterator[
    tuple[str, Videos]
]:  # fmt: skip
    videos, photos = media / "videos", media / "photos"
    if scratch is not None:
        yield "QVHighlights val, captions", caption_videos(media, scratch, bundle)
    yield "montages of all footage", montages(videos, folder, FILMS, 0)
    yield "real videos", [row for one in REAL.values() for row in labelled(videos, one)]
    for title, read in {"COCO": coco, "Caltech-101": caltech, "ImageNet": imagenet}.items():
        yield f"{title} photographs", film(read(photos), folder, FILMS, 0)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--media", type=Path, default=os.environ.get("VTLOC_TEST_MEDIA"))
    parser.add_argument("--scratch", type=Path, help="where captions' vectors are kept")
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE)
    parser.add_argument("--refit", action="store_true", help="calibrate the bundle first")
    options = parser.parse_args()
    if options.media is None:
        print("scores: skipped, no folder of real files (set VTLOC_TEST_MEDIA)")
        return
    media = Path(options.media)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.refit:
            refit(options.bundle, media, folder / "fitted")
        bundle = Bundle.open(options.bundle)
        print_table(_sets(media, folder, options.scratch, bundle), bundle)


if __name__ == "__main__":
    main()
