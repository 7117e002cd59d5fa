"""How often "no such moment" is right, by the number of frames of the video.

    python -m benchmarks.accuracy.presence --media DIR --scratch DIR

Films of 10 to 3,600 frames are cut together from shots of real footage, from filmed photographs,
and from QVHighlights' videos seen through captions. Each is asked for what it shows, for sentences
of other videos, and for those of them that share no telling word with what the film shows; the
longer the film, the likelier it is that some other sentence is true of it after all. A film that
is shorter than a video shows its beginning, so perhaps not all that the video shows.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.accuracy.accuracy import caltech, coco, film
from benchmarks.accuracy.captions import caption_videos
from benchmarks.accuracy.montage import montages
from vtloc_calibration.scores.labelled import telling_words
from vtloc_runtime import EncodedVideo, Localizer
from vtloc_runtime.bundle.bundle import DEFAULT_BUNDLE, Bundle
from vtloc_runtime.localize.encoding.encoded_video import FrameFeatures
from vtloc_runtime.localize.presence.absence import PresenceCheck
from vtloc_runtime.localize.spans.similarity import cosine_curve

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vtloc.annotations.examples import Example

LENGTHS = (10, 30, 60, 250, 1000, 3600)
FILMS, LONG_FILMS = 60, 20
"""Films of each length; those of a thousand frames and more are fewer."""
LONG = 1000
ASKED = 25
"""Sentences of each kind that a film is asked for."""


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A stretch of a video.

    Attributes:
        rows: ``[T, Dv]``.
        sentences: What it shows, if only in part.
    """

    rows: NDArray[np.floating]
    sentences: tuple[str, ...]


def shots(videos: Iterable[tuple[EncodedVideo, list[Example]]]) -> Iterator[Clip]:
    """The marked stretches of videos, at a frame a second."""
    for video, examples in videos:
        for example in examples:
            moment = example.moments[0]
            first, stop = int(np.ceil(moment.start)), int(moment.end)
            if stop > first:
                yield Clip(video.features[first:stop], (example.query,))


def whole(videos: Iterable[tuple[EncodedVideo, list[Example]]]) -> Iterator[Clip]:
    """Videos as they are, each with all its sentences."""
    for video, examples in videos:
        yield Clip(video.features, tuple(example.query for example in examples))


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
    return Clip(rows, tuple(dict.fromkeys(one for part in used for one in part.sentences)))


def shares(
    localizer: Localizer,
    clips: Sequence[Clip],
    asked: Iterable[str],
    frames: int,
    chance: np.random.Generator,
) -> list[float]:
    """The shares answered: of what is shown, of other sentences, and of strange ones.

    Args:
        localizer: Whose test of presence is judged.
        clips: What films are made of.
        asked: Sentences beside those of the clips.
        frames: Of each film.
        chance: Where every choice comes from.
    """
    check, shared = (
        PresenceCheck.from_bundle(localizer.bundle),
        localizer.bundle.manifest.shared_space,
    )
    if check is None or shared is None:
        return [1.0, 1.0, 1.0]
    everything = list(dict.fromkeys([*asked, *(one for clip in clips for one in clip.sentences)]))
    words = {sentence: telling_words(sentence) for sentence in everything}
    answered: list[list[bool]] = [[], [], []]
    for _ in range(FILMS if frames < LONG else LONG_FILMS):
        made = join(clips, frames, chance)
        looks = check.looks(FrameFeatures(made.rows), shared)
        taken = frozenset().union(*(words[one] for one in made.sentences))
        order = [everything[index] for index in chance.permutation(len(everything))]
        others = [one for one in order if one not in made.sentences]
        strange = [one for one in others if not words[one] & taken]
        shown = [one for one in order if one in made.sentences]
        for found, sentences in zip(answered, (shown, others, strange), strict=True):
            for one in localizer.sentences.encode(sentences[:ASKED]):
                curve = cosine_curve(made.rows, one.sentence, shared)
                found.append(check.shows(check.margin(curve, one.sentence, looks)))
    return [float(np.mean(one)) if one else float("nan") for one in answered]


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
    print("| films of | frames | of sentences shown | of others | of strange ones |")
    print("|---|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as folder, Localizer.open(bundle) as localizer:
        scratch, photos = Path(folder), media / "photos"
        files = {
            "real shots": montages(media / "videos", scratch, 50, 0),
            "photographs": film([*coco(photos), *caltech(photos)], scratch, 100, 0),
        }
        kinds = {
            title: list(shots((localizer.encode_video(path), own) for path, own in videos))
            for title, videos in files.items()
        }
        pictured = [one for clips in kinds.values() for clip in clips for one in clip.sentences]
        if options.scratch is not None:
            kinds["captions"] = list(whole(caption_videos(media, options.scratch, bundle)))
        for title, clips in kinds.items():
            chance = np.random.default_rng(0)
            for frames in LENGTHS:
                asked = [] if title == "captions" else pictured
                found = shares(localizer, clips, asked, frames, chance)
                cells = (f"{share:.0%}" for share in found)
                print(f"| {title} | {frames:,} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
