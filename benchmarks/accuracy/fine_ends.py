"""What it gains to place ends between samples, and then to look again around them.

    python -m benchmarks.accuracy.fine_ends --media DIR

Real videos with labels, montages of real footage whose shots begin and end at an eighth of a
second, and films of photographs, whose shots do so at a tenth. Every sentence gets an answer.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.accuracy.accuracy import (
    REAL,
    Judged,
    caltech,
    coco,
    figures,
    film,
    imagenet,
    interval,
    labelled,
)
from benchmarks.accuracy.montage import montages
from vtloc_runtime import Localizer
from vtloc_runtime.bundle.bundle import DEFAULT_BUNDLE, Bundle

SAMPLE, BETWEEN, FINE = "at samples", "between samples", "and a second look"


def main() -> None:
    """Print a line for each set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--media", type=Path, default=os.environ.get("VTLOC_TEST_MEDIA"))
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE)
    parser.add_argument("--videos", type=int, default=50, help="films of each set")
    options = parser.parse_args()
    if options.media is None:
        print("fine ends: skipped, no folder of real files (set VTLOC_TEST_MEDIA)")
        return
    footage = Path(options.media) / "videos"
    print(
        f"| set | queries | {SAMPLE}, R@0.5 / R@0.7 / mIoU | {BETWEEN} | {FINE} "
        "| gain between samples, mIoU | gain of the second look | processor time |"
    )
    print("|---|--:|---|---|---|---|---|--:|")
    with (
        Localizer.open(Bundle.open(options.bundle).always_answering(), threads=1) as localizer,
        tempfile.TemporaryDirectory() as folder,
    ):
        sets = {title: labelled(footage, labels) for title, labels in REAL.items()}
        sets["montages"] = montages(footage, Path(folder), options.videos, 0)
        for name, read in {"COCO": coco, "Caltech-101": caltech, "ImageNet": imagenet}.items():
            photographs = read(Path(options.media) / "photos")
            sets[name] = film(photographs, Path(folder), options.videos, 0)
        for title, videos in sets.items():
            judged = Judged(title, answers={SAMPLE: [], BETWEEN: [], FINE: []})
            spent = np.zeros(2)
            for path, examples in videos:
                began = time.process_time()
                video = localizer.encode_video(path)
                queries = [example.query for example in examples]
                coarse = localizer.localize(video, queries)
                between = time.process_time()
                fine = localizer.refine(path, video, coarse)
                spent += between - began, time.process_time() - between
                judged.examples += examples
                early = localizer.localize(replace(video, sampling=None), queries)
                judged.answers[SAMPLE] += [answer.moments for answer in early]
                judged.answers[BETWEEN] += [answer.moments for answer in coarse]
                judged.answers[FINE] += [answer.moments for answer in fine]
            cells = (
                " / ".join(f"{value:.1f}" for value in figures(judged.examples, answers))
                for answers in judged.answers.values()
            )
            gains = (
                "{:+.1f} ({:+.1f} to {:+.1f})".format(*interval(judged, *pair))
                for pair in ((BETWEEN, SAMPLE), (FINE, BETWEEN))
            )
            print(
                f"| {title} | {len(judged.examples)} | {' | '.join(cells)} | {' | '.join(gains)} "
                f"| +{spent[1] / spent[0]:.0%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
