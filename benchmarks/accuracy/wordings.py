"""What several wordings of a question gain over one.

Two things are measured. On COCO's photographs, whose captions are five people's wordings: how often
the default bundle's encoders find the photograph by one caption, and by several averaged. On
QVHighlights' validation queries, in videos seen through captions: moments and presence by the query
alone, and with a language model's rewrites of it (``--rewrites``: ``data/qvhighlights/query/
val.jsonl`` of VTG-GPT). Needs the folder of real files:
``python -m benchmarks.accuracy.wordings --media DIR [--rewrites FILE --scratch DIR]``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.accuracy.captions import caption_videos
from benchmarks.accuracy.clip_numbers import (
    Interval,
    best_overlap,
    encoders_bundle,
    pictures_video,
)
from vtloc_calibration.scores.rejection import rejection_curve
from vtloc_runtime import Localizer, Picture
from vtloc_runtime.bundle.bundle import DEFAULT_BUNDLE, Bundle
from vtloc_runtime.localize.presence.comparison import Comparison
from vtloc_runtime.localize.questions.question import Question
from vtloc_runtime.video.isolation.chunks import read_here

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vtloc.annotations.examples import Example
    from vtloc_runtime import EncodedVideo
    from vtloc_runtime.localize.questions.question import Query

COUNTS = (1, 2, 3, 5)
REWRITES = 5


def photographs(folder: Path) -> None:
    """Captions to photographs, by one wording and by several.

    Args:
        folder: ``photos/coco``, with ``captions.jsonl``.
    """
    lines = (folder / "captions.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if len(row["captions"]) >= max(COUNTS)]
    with Localizer.open(DEFAULT_BUNDLE, threads=1) as localizer:
        comparison = Comparison.of_bundle(localizer.bundle)
        shared = localizer.bundle.manifest.shared_space
        if comparison is None or shared is None:
            return
        seen = [
            localizer.questions.encode([Question.parse(Picture(folder / row["file"]))], read_here)[
                0
            ]
            for row in rows
        ]
        width = localizer.bundle.manifest.networks["visual"].dims["feature"]
        features = np.zeros((len(rows), width), dtype=np.float32)
        features[:, shared.start : shared.stop] = [one.picture for one in seen]
        video = pictures_video(features)
        found = {}
        for count in COUNTS:
            # Every caption is asked once: one by one, in pairs and so on, and a photograph's
            # figure is the mean of them.
            hits = []
            for first in range(0, max(COUNTS) - count + 1, count):
                asked = [Question(tuple(row["captions"][first : first + count])) for row in rows]
                compared = comparison.compare(video, localizer.questions.encode(asked, read_here))
                hits.append([one.curve.argmax() == at for at, one in enumerate(compared)])
            found[count] = np.mean(hits, axis=0)
    print(f"\n### {len(rows)} photographs and five people's captions: caption to photograph\n")
    print("| wordings averaged | R@1 | gained over one |\n|--:|--:|--:|")
    for count, values in found.items():
        print(f"| {count} | {Interval.from_values(values)} | "
              f"{Interval.from_values(values - found[1])} |")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answer:
    """What one way to ask gave for one query.

    Attributes:
        overlap: IoU of the first moment with the nearest true one.
        present: The margin in the video that shows it.
        absent: The margin in a video that does not.
    """

    overlap: float
    present: float
    absent: float


def moments(media: Path, scratch: Path, rewrites: Mapping[str, Sequence[str]]) -> None:
    """Moments and presence by a query, with some rewrites of it, and by rewrites alone.

    Args:
        media: The folder of real files.
        scratch: Where the captions' vectors are kept.
        rewrites: Other wordings of every query, by its id.
    """
    bundle = Bundle.open(encoders_bundle(scratch / "encoders")).always_answering()
    found: dict[str, list[Answer]] = {}
    with Localizer.open(bundle, threads=1) as localizer:
        videos = list(caption_videos(media, scratch, bundle))
        rng = np.random.default_rng(0)
        for place, (video, examples) in enumerate(videos):
            away, _ = videos[(place + 1 + int(rng.integers(len(videos) - 1))) % len(videos)]
            for example in examples:
                for way, answer in _answers(localizer, video, away, example, rewrites).items():
                    found.setdefault(way, []).append(answer)
            print(f"\r{place + 1} of {len(videos)} videos ", end="", file=sys.stderr, flush=True)
    _print(found)


def _answers(
    localizer: Localizer,
    video: EncodedVideo,
    away: EncodedVideo,
    example: Example,
    rewrites: Mapping[str, Sequence[str]],
) -> dict[str, Answer]:
    others = tuple(rewrites[example.id])[:REWRITES]
    ways: dict[str, Query] = {"the query": example.query, "one rewrite": others[0]}
    ways |= {f"the query and {n} more": (example.query, *others[:n]) for n in (1, 2, REWRITES)}
    ways[f"{REWRITES} rewrites"] = others
    inside = localizer.localize(video, list(ways.values()))
    outside = localizer.localize(away, list(ways.values()))
    return {
        way: Answer(best_overlap(example, here), here.presence or 0.0, there.presence or 0.0)
        for way, here, there in zip(ways, inside, outside, strict=True)
    }


def _print(found: Mapping[str, Sequence[Answer]]) -> None:
    overlaps = {way: np.array([one.overlap for one in rows]) for way, rows in found.items()}
    first = next(iter(overlaps.values()))
    print(f"\n\n### {len(first)} QVHighlights queries, videos seen through captions\n")
    print("| asked by | R1@0.5 | R1@0.7 | mIoU | gained, mIoU | presence, area |")
    print("|---|--:|--:|--:|--:|--:|")
    for way, values in overlaps.items():
        shares = [Interval.from_values((values >= bound).astype(float)) for bound in (0.5, 0.7)]
        present, absent = (
            np.array([getattr(one, side) for one in found[way]]) for side in ("present", "absent")
        )
        cells = [*shares, Interval.from_values(values), Interval.from_values(values - first)]
        area = 100 * rejection_curve(present, absent).area
        print(f"| {way} | {' | '.join(map(str, cells))} | {area:.1f} |")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--media", type=Path, default=os.environ.get("VTLOC_TEST_MEDIA"))
    parser.add_argument("--rewrites", type=Path, help="JSON lines with qid and rephrased_query")
    parser.add_argument("--scratch", type=Path, help="where captions' vectors are kept")
    options = parser.parse_args()
    if options.media is None:
        print("wordings: skipped, no folder of real files (set VTLOC_TEST_MEDIA)")
        return
    photographs(Path(options.media) / "photos" / "coco")
    if options.rewrites is not None and options.scratch is not None:
        rows = map(json.loads, options.rewrites.read_text(encoding="utf-8").splitlines())
        rewrites = {str(row["qid"]): row["rephrased_query"] for row in rows}
        moments(Path(options.media), options.scratch, rewrites)


if __name__ == "__main__":
    main()
