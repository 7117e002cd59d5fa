"""What a second look around the ends of moments gains, and what it costs.

    python -m benchmarks.accuracy.fine_ends --media DIR

Real videos with labels, and montages of real footage whose shots begin and end at an eighth of a
second. Every sentence gets an answer.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.accuracy.accuracy import REAL, Judged, figures, interval, labelled
from benchmarks.accuracy.montage import montages
from vtloc_runtime import Localizer
from vtloc_runtime.bundle.bundle import DEFAULT_BUNDLE, Bundle

COARSE, FINE = "a frame a second", "and a second look"


def main() -> None:
    """Print a line for each set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--media", type=Path, default=os.environ.get("VTLOC_TEST_MEDIA"))
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE)
    parser.add_argument("--videos", type=int, default=50, help="montages")
    options = parser.parse_args()
    if options.media is None:
        print("fine ends: skipped, no folder of real files (set VTLOC_TEST_MEDIA)")
        return
    footage = Path(options.media) / "videos"
    print(
        f"| set | queries | {COARSE}, R@0.5 / R@0.7 / mIoU | {FINE} | gain, mIoU | processor time |"
    )
    print("|---|--:|---|---|---|--:|")
    with (
        Localizer.open(Bundle.open(options.bundle).always_answering(), threads=1) as localizer,
        tempfile.TemporaryDirectory() as folder,
    ):
        sets = {title: labelled(footage, labels) for title, labels in REAL.items()}
        sets["montages"] = montages(footage, Path(folder), options.videos, 0)
        for title, videos in sets.items():
            judged = Judged(title, answers={COARSE: [], FINE: []})
            spent = np.zeros(2)
            for path, examples in videos:
                began = time.process_time()
                video = localizer.encode_video(path)
                coarse = localizer.localize(video, [example.query for example in examples])
                between = time.process_time()
                fine = localizer.refine(path, video, coarse)
                spent += between - began, time.process_time() - between
                judged.examples += examples
                judged.answers[COARSE] += [answer.moments for answer in coarse]
                judged.answers[FINE] += [answer.moments for answer in fine]
            cells = (
                " / ".join(f"{value:.1f}" for value in figures(judged.examples, answers))
                for answers in judged.answers.values()
            )
            gain, low, high = interval(judged, FINE, COARSE)
            print(
                f"| {title} | {len(judged.examples)} | {' | '.join(cells)} "
                f"| {gain:+.1f} ({low:+.1f} to {high:+.1f}) | +{spent[1] / spent[0]:.0%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
