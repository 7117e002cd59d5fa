"""What a bundle without a localizer is worth: numbers of a real CLIP, and real moments.

Two things are measured. On 500 photographs of COCO and their captions, as OpenAI's ViT-B/16 sees
them: how often a caption finds its photograph, and whether it is noticed that a set of photographs
does not show it. On QVHighlights' validation queries, in videos seen through captions: moments,
presence and scores of the default bundle's encoders without its localizer. Needs the folder of
real files: ``python -m benchmarks.accuracy.clip_numbers --media DIR --scratch DIR``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy.captions import caption_videos
from vtloc.encoders import load_text_encoder
from vtloc_calibration.scores.rejection import rejection_curve
from vtloc_calibration.scores.reliability import expected_calibration_error
from vtloc_export.sentence_bank import MEAN_WEIGHT, THRESHOLD, write_sentence_bank
from vtloc_runtime import EncodedVideo, Localizer
from vtloc_runtime.bundle.bundle import DEFAULT_BUNDLE, Bundle
from vtloc_runtime.bundle.manifest import MANIFEST_NAME, SCHEMA_VERSION, Decoding, SharedSpace
from vtloc_runtime.localize.presence.bank_presence import BankPresence
from vtloc_runtime.localize.presence.comparison import Comparison
from vtloc_runtime.localize.presence.sentence_bank import SentenceBank
from vtloc_runtime.localize.questions.question import EncodedQuestion, Question
from vtloc_runtime.localize.questions.text_encoder import EncodedSentence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vtloc.annotations.examples import Example
    from vtloc_runtime.localize.spans.moments import Localization

SPLITS = 20
RESAMPLES = 2000
SIZES = (10, 25, 50)
LENGTHS = (10, 30, 75, 300, 1500, 3600)
LONG_VIDEOS = 40
RIGHT = 0.5

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95 % interval."""

    mean: float
    low: float
    high: float

    @classmethod
    def from_values(cls, values: Sequence[float] | NDArray[np.floating]) -> Interval:
        """The mean of values, over resamples of them."""
        rows = np.asarray(values, dtype=np.float64)
        rng = np.random.default_rng(0)
        means = [rows[rng.integers(len(rows), size=len(rows))].mean() for _ in range(RESAMPLES)]
        low, high = np.percentile(means, [2.5, 97.5])
        return cls(float(rows.mean()), float(low), float(high))

    def __str__(self) -> str:
        return f"{100 * self.mean:.1f} ({100 * self.low:.1f} to {100 * self.high:.1f})"


def question(vector: Vectors) -> EncodedQuestion:
    """A sentence that another program encoded."""
    sentence = EncodedSentence("", np.zeros((1, 1), np.float32), vector, ())
    return EncodedQuestion(Question(("",)), (sentence,))


def pictures_video(images: Vectors) -> EncodedVideo:
    """Photographs as the frames of a video, one a second."""
    return EncodedVideo(images, np.arange(len(images), dtype=float), float(len(images)))


def retrieval(images: Vectors, captions: Vectors) -> None:
    """Captions to photographs: raw cosine, and as the runtime compares.

    A caption's mean text is that of the other half of the captions.
    """
    shared = SharedSpace(start=0, stop=images.shape[1])
    video, count = pictures_video(images), len(images)
    plain, shipped = np.zeros(count, bool), np.zeros(count, bool)
    halves = np.array_split(np.random.default_rng(0).permutation(count), 2)
    for own, other in (halves, halves[::-1]):
        bank = SentenceBank.of_vectors(captions[other], captions[other].mean(axis=0))
        asked = [question(captions[place]) for place in own]
        for hits, weight in ((plain, 0.0), (shipped, MEAN_WEIGHT)):
            found = Comparison(shared, bank, mean_weight=weight).compare(video, asked)
            hits[own] = [one.curve.argmax() == place for one, place in zip(found, own, strict=True)]
    print(f"\n### {count} photographs and captions, ViT-B/16: caption to photograph\n")
    print("| query | R@1 |\n|---|--:|")
    print(f"| cosine | {Interval.from_values(plain.astype(float))} |")
    print(f"| as shipped: less {MEAN_WEIGHT:g} of the mean text | "
          f"{Interval.from_values(shipped.astype(float))} |")  # fmt: skip
    gain = Interval.from_values(shipped.astype(float) - plain.astype(float))
    print(f"\nGained by subtracting the mean text: {gain}")


def picture_presence(images: Vectors, captions: Vectors) -> None:
    """Whether sets of photographs show what captions describe; half of the captions are the bank.

    The bank's captions describe none of the photographs.
    """
    shared = SharedSpace(start=0, stop=images.shape[1])
    print("\n### The same, in sets of photographs: is it shown at all?\n")
    print(f"| photographs in a set | area under the curve | shown, kept at {THRESHOLD:g} | "
          "not shown, let through |\n|--:|--:|--:|--:|")  # fmt: skip
    rng = np.random.default_rng(0)
    for size in SIZES:
        areas, kept, passed = [], [], []
        for _ in range(SPLITS):
            asked, banked = np.array_split(rng.permutation(len(images)), 2)
            bank = SentenceBank.of_vectors(captions[banked], captions[banked].mean(axis=0))
            comparison = Comparison(shared, bank, by_bank=BankPresence(bank, THRESHOLD))
            sets = asked.reshape(-1, size)
            questions = [question(captions[place]) for place in asked]
            margins = np.array(
                [
                    [
                        found.margin
                        for found in comparison.compare(pictures_video(images[one]), questions)
                    ]
                    for one in sets
                ]
            )
            home = np.repeat(np.arange(len(sets)), size)
            away = (home + 1 + rng.integers(0, len(sets) - 1, len(home))) % len(sets)
            present, absent = (margins[where, np.arange(len(asked))] for where in (home, away))
            areas.append(rejection_curve(present, absent).area)
            kept.append(float((present >= THRESHOLD).mean()))
            passed.append(float((absent >= THRESHOLD).mean()))
        cells = " | ".join(str(Interval.from_values(one)) for one in (areas, kept, passed))
        print(f"| {size} | {cells} |")


def encoders_bundle(folder: Path) -> Path:
    """The default bundle's encoders as a bundle without a localizer, with a sentence bank."""
    if (folder / MANIFEST_NAME).is_file():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    source = Bundle.open(DEFAULT_BUNDLE)
    networks = {name: source.manifest.networks[name] for name in ("visual", "text")}
    files = [variant.file for one in networks.values() for variant in one.variants.values()]
    for file in (*files, source.manifest.tokenizer.file):
        shutil.copy(source.resolve(file), folder / file)
    encoder = load_text_encoder(source.manifest.provenance.text_encoder)
    encoder.freeze()
    manifest = msgspec.structs.replace(
        source.manifest,
        schema=SCHEMA_VERSION,
        networks=networks,
        routing_iterations=0,
        decoding=Decoding(strategy="similarity"),
        score_calibration=None,
        # Frames and sentences are vectors of one text network: there is no gap between them.
        sentence_bank=write_sentence_bank(encoder, folder, mean_weight=0.0),
    )
    (folder / MANIFEST_NAME).write_bytes(msgspec.json.encode(manifest))
    return folder


def best_overlap(example: Example, answer: Localization) -> float:
    """IoU of the first moment with the nearest true one; 0 for "no such moment"."""
    if answer.best is None:
        return 0.0
    return max((answer.best.overlap(true) for true in example.moments), default=0.0)


class CaptionSet:
    """QVHighlights' queries, each asked of its own video and of another one.

    Args:
        localizer: Asks them.
        videos: Each with its queries.
    """

    def __init__(
        self, localizer: Localizer, videos: Sequence[tuple[EncodedVideo, list[Example]]]
    ) -> None:
        self._localizer = localizer
        self._videos = [video for video, _ in videos]
        rng = np.random.default_rng(0)
        pairs = [(place, one) for place, (_, found) in enumerate(videos) for one in found]
        self.examples = [one for _, one in pairs]
        self._home = [place for place, _ in pairs]
        self._away = [
            (place + 1 + int(rng.integers(len(videos) - 1))) % len(videos) for place in self._home
        ]

    def present(self) -> list[Localization]:
        """The answer to every query in its own video."""
        return self._ask(self._home, range(len(self.examples)))

    def absent(self) -> list[Localization]:
        """The answer to every second query in another video."""
        return self._ask(self._away, range(0, len(self.examples), 2))

    def passed(self, frames: int) -> list[float]:
        """By video of so many frames, the share of other videos' queries that are let through."""
        comparison = Comparison.of_bundle(self._localizer.bundle)
        if comparison is None:
            return []
        encoded = self._localizer.sentences.encode([one.query for one in self.examples])
        questions = [EncodedQuestion(Question((one.text,)), (one,)) for one in encoded]
        shares = []
        for place in range(0, len(self._videos), len(self._videos) // LONG_VIDEOS):
            video, shown = self._of_length(place, frames)
            asked = [one for one, home in zip(questions, self._home, strict=True)
                     if home not in shown]  # fmt: skip
            margins = [one.margin or 0.0 for one in comparison.compare(video, asked)]
            shares.append(float(np.mean(np.array(margins) >= THRESHOLD)))
        return shares

    def _ask(self, places: Sequence[int], indices: Sequence[int]) -> list[Localization]:
        groups: dict[int, list[int]] = {}
        for index in indices:
            groups.setdefault(places[index], []).append(index)
        answers: dict[int, Localization] = {}
        for place, own in groups.items():
            video = self._videos[place]
            found = self._localizer.localize(video, [self.examples[index].query for index in own])
            answers.update(zip(own, found, strict=True))
            print(f"\r{len(answers)} answers ", end="", file=sys.stderr, flush=True)
        return [answers[index] for index in indices]

    def _of_length(self, place: int, frames: int) -> tuple[EncodedVideo, set[int]]:
        """So many frames, and whose: the middle of a video, or a video and others after it."""
        shown, rows = {place}, [self._videos[place].rows]
        if frames < len(rows[0]):
            first = (len(rows[0]) - frames) // 2
            rows = [rows[0][first : first + frames]]
        while sum(map(len, rows)) < frames:
            place = (place + 97) % len(self._videos)
            shown.add(place)
            rows.append(self._videos[place].rows)
        whole = np.concatenate(rows)[:frames]
        times = 2.0 * np.arange(len(whole), dtype=np.float64)
        return EncodedVideo(whole, times, 2.0 * len(whole)), shown


def margins(answers: Sequence[Localization]) -> NDArray[np.float64]:
    """The presence of every answer."""
    return np.array([answer.presence for answer in answers], dtype=np.float64)


def captions(media: Path, scratch: Path) -> None:
    """Moments, presence and scores on QVHighlights' queries."""
    bundle = Bundle.open(encoders_bundle(scratch / "encoders")).always_answering()
    with Localizer.open(bundle, threads=1) as localizer:
        asked = CaptionSet(localizer, list(caption_videos(media, scratch, bundle)))
        present, absent = asked.present(), asked.absent()
        pairs = zip(asked.examples, present, strict=True)
        overlaps = np.array([best_overlap(example, answer) for example, answer in pairs])
        inside, outside = margins(present), margins(absent)
        scores = np.array([one.best.score for one in (*present, *absent) if one.best is not None])
        right = np.concatenate([overlaps >= RIGHT, np.zeros(len(absent), dtype=bool)])
        rows = {
            "R1@0.5": Interval.from_values((overlaps >= 0.5).astype(float)),
            "R1@0.7": Interval.from_values((overlaps >= 0.7).astype(float)),
            "mIoU": Interval.from_values(overlaps),
            "presence, area under the curve": f"{100 * rejection_curve(inside, outside).area:.1f}",
            f"shown, kept at {THRESHOLD:g}": Interval.from_values(
                (inside >= THRESHOLD).astype(float)
            ),
            "right answers scored above wrong and absent ones, area": (
                f"{100 * rejection_curve(scores[right], scores[~right]).area:.1f}"
            ),
            "expected calibration error, present and absent": (
                f"{100 * expected_calibration_error(scores, right):.1f}"
            ),
        }
        print(f"\n\n### {len(present)} QVHighlights queries, videos seen through captions\n")
        print("| measure | percent |\n|---|--:|")
        for name, figure in rows.items():
            print(f"| {name} | {figure} |")
        print("\n| frames of a video that does not show it | let through |\n|--:|--:|")
        for frames in LENGTHS:
            print(f"| {frames} | {Interval.from_values(asked.passed(frames))} |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--media", type=Path, default=os.environ.get("VTLOC_TEST_MEDIA"))
    parser.add_argument(
        "--scratch", type=Path, help="where captions' vectors are kept; asks about them, too"
    )
    options = parser.parse_args()
    if options.media is None:
        print("clip_numbers: skipped, no folder of real files (set VTLOC_TEST_MEDIA)")
        return
    pairs = np.load(Path(options.media) / "clip_numbers" / "coco500_clip_b16.npy")
    images, texts = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in pairs)
    retrieval(images, texts)
    picture_presence(images, texts)
    if options.scratch is not None:
        captions(Path(options.media), options.scratch)


if __name__ == "__main__":
    main()
