"""Claim: a quick search gives the answers of an exact one, from a part of the frames.

Long films of real shots and photographs are asked sentences, with every frame encoded and quickly.
Features are remembered between sentences, so that each frame is encoded once here; what is counted
is what each search would have encoded on its own.

    python -m benchmarks.accuracy.quick --media DIR --folder FILMS --seconds 600 --group 250
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.accuracy.long_films import Part, write_long_film
from benchmarks.throughput.machine import machine_line
from vtloc_runtime import Localization, Localizer, Moment
from vtloc_runtime.localize.encoding.frame_encoder import EncodedFrames
from vtloc_runtime.localize.quick_search import QuickEncoder
from vtloc_runtime.video.isolation.chunks import ReadingEnd, read_here

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo
    from vtloc_runtime.localize.encoding.video_encoder import VideoEncoder

SAME = 0.9
"""IoU from which two moments count as the same."""


class RememberingEncoder:
    """A video encoder for one film, which encodes each frame once and counts what is asked."""

    def __init__(self, encoder: VideoEncoder, exact: EncodedVideo) -> None:
        self._encoder = encoder
        self._exact = exact
        self._keyframes: EncodedFrames | None = None
        self._outline: ReadingEnd | None = None
        self.rate = encoder.rate
        self.hash = encoder.hash
        self.frames = 0

    def outline(self, source: Any, options: Any, *, read: Any) -> ReadingEnd:
        """The film's keyframes."""
        if self._outline is None:
            self._outline = self._encoder.outline(source, options, read=read)
        return self._outline

    def look(
        self, source: Any, parts: Sequence[Any], options: Any, *, keyframes: bool, read: Any
    ) -> EncodedFrames:
        """Frames as the encoder gives them."""
        self.frames += sum(map(len, parts))
        if keyframes:
            if self._keyframes is None:
                self._keyframes = self._encoder.look(
                    source, parts, options, keyframes=True, read=read
                )
            return self._keyframes
        places = [int(instant * self.rate) for part in parts for instant in part]
        rows = self._exact.features[places].astype(np.float32)
        timings = {"decode": 0.0, "encode": 0.0}
        return EncodedFrames(
            rows, self._exact.times[places], ReadingEnd(self._exact.duration), None, timings
        )

    def encode(self, _source: Any, _options: Any, *, read: Any) -> EncodedVideo:
        """The whole film."""
        del read
        self.frames += len(self._exact)
        return self._exact


@dataclass(frozen=True, slots=True)
class Outcome:
    """One sentence, asked both ways.

    Attributes:
        same: IoU of the two best moments.
        exact: IoU of the exact best moment with the true one.
        quick: The same for the quick one.
        frames: Share of the film's frames that were encoded, keyframes among them.
        presence: By how much the quick search's margin of presence exceeds the exact one's.
        agree: Whether both take the sentence to be shown, or both not.
    """

    same: float
    exact: float
    quick: float
    frames: float
    presence: float
    agree: bool


def _moments(
    localizer: Localizer, query: str, video: EncodedVideo, count: int
) -> list[Localization]:
    return localizer.localize(video, [query], moments=count)


def ask(
    localizer: Localizer, always: Localizer, film: Path, parts: Sequence[Part], most: int
) -> list[Outcome]:
    """Ask a film's sentences both ways."""
    video = localizer.encode_video(film)
    encoder = RememberingEncoder(localizer.encoder, video)
    questions = [(part, query) for part in parts for query in dict.fromkeys(part.sentences)]
    count = min(most, len(questions))
    found = []
    for part, query in (questions[place * len(questions) // count] for place in range(count)):
        encoder.frames = 0
        # It has what a quick search calls of a VideoEncoder.
        quick = QuickEncoder(encoder, film, None, read_here)  # type: ignore[arg-type]
        seen = quick.search(
            partial(_moments, always, query),
            moments=1,
            known=None,
        )
        exact, first = (always.localize(one, query).moments[0] for one in (video, seen))
        margins = [localizer.localize(one, query) for one in (video, seen)]
        true = Moment(part.start, part.end, 1.0)
        found.append(
            Outcome(
                exact.overlap(first),
                exact.overlap(true),
                first.overlap(true),
                encoder.frames / len(video),
                (margins[1].presence or 0.0) - (margins[0].presence or 0.0),
                bool(margins[0].moments) == bool(margins[1].moments),
            )
        )
        if found[-1].same < SAME:
            print(f"  {query!r}: exact {exact}, quick {first}, true {part.start}-{part.end}")
    return found


def main() -> None:
    """Measure, print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--media", type=Path, default=os.environ.get("VTLOC_TEST_MEDIA"))
    parser.add_argument("--folder", type=Path, required=True, help="keeps the films")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--group", type=int, default=250, help="pictures between keyframes")
    parser.add_argument("--no-cuts", action="store_true", help="no keyframes at cuts")
    parser.add_argument("--films", type=int, default=3)
    parser.add_argument("--sentences", type=int, default=40, help="of each film")
    parser.add_argument("--bundle", type=Path)
    options = parser.parse_args()
    if options.media is None:
        print("quick: skipped, no folder of real files (set VTLOC_TEST_MEDIA)")
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    outcomes: list[Outcome] = []
    with Localizer.open(options.bundle, threads=1) as localizer:
        bundle = localizer.bundle.always_answering()
        with Localizer.open(bundle, threads=1) as always:
            for seed in range(options.films):
                kind = f"{options.seconds:g}-{options.group}{'-no-cuts' * options.no_cuts}"
                film = options.folder / f"long-{seed}-{kind}.mp4"
                parts = write_long_film(
                    film,
                    Path(options.media),
                    seconds=options.seconds,
                    group=options.group,
                    cuts=not options.no_cuts,
                    seed=seed,
                )
                outcomes += ask(localizer, always, film, parts, options.sentences)
    same = np.array([one.same for one in outcomes])
    exact, quick = (
        np.array([getattr(one, name) for one in outcomes]) for name in ("exact", "quick")
    )
    gain = 100 * (quick - exact)
    presence = np.array([one.presence for one in outcomes])
    print(
        "| sentences | same moment | mIoU exact | quick | change | frames encoded | presence |"
        " both or neither shown |"
    )
    print("|--:|--:|--:|--:|--:|--:|--:|--:|")
    print(
        f"| {len(outcomes)} | {(same >= SAME).mean():.1%} | {100 * exact.mean():.1f} "
        f"| {100 * quick.mean():.1f} | {gain.mean():+.1f} "
        f"(s.e. {gain.std() / len(gain) ** 0.5:.1f}) "
        f"| {np.mean([one.frames for one in outcomes]):.1%} "
        f"| {presence.mean():+.4f} (s.d. {presence.std():.4f}) "
        f"| {np.mean([one.agree for one in outcomes]):.1%} |"
    )
    print(f"\n{options.films} films of {options.seconds:g} s. {machine_line('onnxruntime')}")


if __name__ == "__main__":
    main()
