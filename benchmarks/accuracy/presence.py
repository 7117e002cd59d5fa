"""How often "no such moment" is right, by the number of frames of the video.

    python -m benchmarks.accuracy.presence --media DIR --scratch DIR

Films of 10 to 3,600 frames are cut together from shots of real footage, from filmed photographs,
and from QVHighlights' videos seen through captions. Subjects are split by chance, several times:
films show some of them, and are asked for what they show and for *strange* sentences, which are
about the other subjects and share no telling word with anything that any of these films shows. So
films of every length are asked for the same, and what a longer film shows by chance does not count.
A film that is shorter than a clip shows its beginning, so perhaps not all that the clip shows.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.accuracy.accuracy import Photograph, caltech, coco, film
from benchmarks.accuracy.captions import caption_videos
from benchmarks.accuracy.montage import montages, read_shots
from vtloc_calibration.scores.labelled import telling_words
from vtloc_calibration.scores.rejection import rejection_curve
from vtloc_runtime import EncodedVideo, Localizer
from vtloc_runtime.bundle.bundle import DEFAULT_BUNDLE, Bundle
from vtloc_runtime.localize.presence.comparison import Comparison
from vtloc_runtime.localize.questions.question import EncodedQuestion, Question

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vtloc.annotations.examples import Example
    from vtloc_runtime.localize.questions.text_encoder import EncodedSentence

LENGTHS = (10, 30, 60, 250, 1000, 3600)
SPLITS = 12
SHOWN_SUBJECTS = 60
"""Subjects of one split's films, at most; half of them where there are fewer."""
FILMS, LONG_FILMS = 5, 2
"""Films of each length in a split; those of a thousand frames and more are fewer."""
LONG = 1000
ASKED = 40
"""Sentences of each kind that a film is asked for."""
RESAMPLES = 1000

_PHRASES = frozenset({"photo", "there", "show", "me"})
"""Words of "a photo of", "there is" and "show me", which say nothing of a photograph."""


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A stretch of a video.

    Attributes:
        rows: ``[T, Dv]``.
        sentences: What it shows, if only in part.
        subject: What it was filmed from.
    """

    rows: NDArray[np.floating]
    sentences: tuple[str, ...]
    subject: str


def shots(
    videos: Iterable[tuple[EncodedVideo, list[Example]]], subjects: Mapping[str, str]
) -> Iterator[Clip]:
    """The marked stretches of videos, at a frame a second."""
    for video, examples in videos:
        for example in examples:
            moment = example.moments[0]
            first, stop = int(np.ceil(moment.start)), int(moment.end)
            if stop > first:
                rows = video.features[first:stop]
                yield Clip(rows, (example.query,), subjects[example.query])


def whole(videos: Iterable[tuple[EncodedVideo, list[Example]]]) -> Iterator[Clip]:
    """Videos as they are, each with all its sentences."""
    for video, examples in videos:
        sentences = tuple(example.query for example in examples)
        yield Clip(video.features, sentences, examples[0].video)


def shot_subjects() -> dict[str, str]:
    """The video that each sentence about a shot is about."""
    return {sentence: shot.video for shot in read_shots() for sentence in shot.sentences}


def photograph_subjects(photographs: Iterable[Photograph]) -> dict[str, str]:
    """What each sentence about a photograph is about."""
    return {
        " ".join(sentence.split()): one.subject for one in photographs for sentence in one.sentences
    }


def join(clips: Sequence[Clip], frames: int, chance: np.random.Generator) -> Clip:
    """A film of so many frames: clips in any order, again and again where there are too few."""
    parts: list[Clip] = []
    while sum(len(part.rows) for part in parts) < frames:
        parts += [clips[index] for index in chance.permutation(len(clips))]
    used, count = [], 0
    for part in parts:
        if count >= frames:
            break
        used.append(part)
        count += len(part.rows)
    rows = np.concatenate([part.rows for part in used])[:frames]
    return Clip(rows, tuple(dict.fromkeys(one for part in used for one in part.sentences)), "")


def split(
    clips: Sequence[Clip], asked: Mapping[str, str], chance: np.random.Generator
) -> tuple[list[Clip], list[str]]:
    """The clips of some subjects, and the sentences that are strange to all of them.

    Args:
        clips: Of every subject.
        asked: Sentences, and what they are about.
        chance: Draws the subjects.
    """
    subjects = sorted({clip.subject for clip in clips})
    count = min(SHOWN_SUBJECTS, len(subjects) // 2)
    shown = {subjects[index] for index in chance.permutation(len(subjects))[:count]}
    own = [clip for clip in clips if clip.subject in shown]
    told = {one for clip in own for one in clip.sentences}
    told |= {one for one, subject in asked.items() if subject in shown}
    taken = frozenset().union(*(telling_words(one) for one in told)) - _PHRASES
    strange = [one for one in asked if one not in told and not telling_words(one) & taken]
    return own, strange


class Judge:
    """Measures margins of presence.

    Args:
        localizer: Encodes the sentences.
    """

    def __init__(self, localizer: Localizer) -> None:
        self._sentences = localizer.sentences
        self._comparison = Comparison.of_bundle(localizer.bundle)
        self._known: dict[str, EncodedSentence] = {}

    def margins(self, rows: NDArray[np.floating], sentences: Sequence[str]) -> list[float]:
        """The margin of each sentence in a film."""
        missing = [one for one in sentences if one not in self._known]
        encoded = self._sentences.encode(missing)
        self._known.update(zip(missing, encoded, strict=True))
        questions = [EncodedQuestion(Question((one,)), (self._known[one],)) for one in sentences]
        video = EncodedVideo(rows, np.arange(float(len(rows))), float(len(rows)))
        if self._comparison is None:
            return [0.0] * len(sentences)
        return [one.margin or 0.0 for one in self._comparison.compare(video, questions)]


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """The margins of one film.

    Attributes:
        shown: Of sentences that it shows.
        strange: Of sentences that it does not.
    """

    shown: NDArray[np.float64]
    strange: NDArray[np.float64]


def measure(
    judge: Judge, clips: Sequence[Clip], asked: Mapping[str, str]
) -> dict[int, list[list[Measured]]]:
    """The margins of films of every length, by split.

    Args:
        judge: Measures them.
        clips: What films are made of.
        asked: Sentences, and what they are about.
    """
    found: dict[int, list[list[Measured]]] = {frames: [] for frames in LENGTHS}
    for number in range(SPLITS):
        chance = np.random.default_rng(number)
        own, strange = split(clips, asked, chance)
        for frames in LENGTHS:
            films = []
            for _ in range(FILMS if frames < LONG else LONG_FILMS):
                made = join(own, frames, chance)
                groups = [
                    [kind[index] for index in chance.permutation(len(kind))[:ASKED]]
                    for kind in (made.sentences, strange)
                ]
                margins = np.array(judge.margins(made.rows, [*groups[0], *groups[1]]))
                films.append(Measured(*np.split(margins, [len(groups[0])])))
            found[frames].append(films)
    return found


def row(splits: Sequence[Sequence[Measured]], threshold: float) -> str:
    """Cells of the table, each with its 95 % interval over splits."""

    def figures(chosen: Iterable[Sequence[Measured]]) -> tuple[float, float, float]:
        films = [one for films in chosen for one in films]
        shown = np.concatenate([one.shown for one in films])
        strange = np.concatenate([one.strange for one in films])
        return (
            100 * rejection_curve(shown, strange).area,
            100 * float((shown >= threshold).mean()),
            100 * float((strange >= threshold).mean()),
        )

    rng = np.random.default_rng(0)
    drawn = [
        figures(splits[index] for index in rng.integers(len(splits), size=len(splits)))
        for _ in range(RESAMPLES)
    ]
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    cells = zip(figures(splits), low, high, strict=True)
    return " | ".join(f"{mean:.1f} ({least:.1f} to {most:.1f})" for mean, least, most in cells)


def main() -> None:
    """Print a line for each kind of film and each length."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--media", type=Path, default=os.environ.get("VTLOC_TEST_MEDIA"))
    parser.add_argument("--scratch", type=Path, help="where captions' vectors are kept")
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE)
    options = parser.parse_args()
    if options.media is None:
        print("presence: skipped, no folder of real files (set VTLOC_TEST_MEDIA)")
        return
    media = Path(options.media)
    bundle = Bundle.open(options.bundle)
    with tempfile.TemporaryDirectory() as folder, Localizer.open(bundle, threads=1) as localizer:
        scratch = Path(folder)
        photographs = [*coco(media / "photos"), *caltech(media / "photos")]
        pictured = shot_subjects() | photograph_subjects(photographs)
        filmed = {
            "real shots": montages(media / "videos", scratch, 50, 0),
            "photographs": film(photographs, scratch, 100, 0),
        }
        kinds = {
            title: list(
                shots(((localizer.encode_video(path), own) for path, own in made), pictured)
            )
            for title, made in filmed.items()
        }
        if options.scratch is not None:
            kinds["captions"] = list(whole(caption_videos(media, options.scratch, bundle)))
        print_table(localizer, kinds, pictured)


def print_table(
    localizer: Localizer, kinds: Mapping[str, Sequence[Clip]], pictured: Mapping[str, str]
) -> None:
    """Print a line for each kind of film and each length.

    Args:
        localizer: Whose test of presence is judged.
        kinds: Clips by the kind of film.
        pictured: Sentences about shots and photographs, and what they are about.
    """
    bank = localizer.bundle.manifest.sentence_bank
    threshold = -np.inf if bank is None or bank.threshold is None else bank.threshold
    judge = Judge(localizer)
    print("| films of | frames | area under the curve | shown, kept | strange, let through |")
    print("|---|--:|--:|--:|--:|")
    for title, clips in kinds.items():
        asked = pictured if title != "captions" else {
            one: clip.subject for clip in clips for one in clip.sentences
        }  # fmt: skip
        for frames, splits in measure(judge, clips, asked).items():
            print(f"| {title} | {frames:,} | {row(splits, threshold)} |", flush=True)


if __name__ == "__main__":
    main()
