"""Labelled moments: sentences with the spans they describe, and sentences that describe none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vtloc.errors import AnnotationError
from vtloc_calibration.errors import CalibrationError
from vtloc_calibration.scores.fit import MINIMUM_ANSWERS
from vtloc_runtime.batch.job_lists.folder_listing import NamedVideos
from vtloc_runtime.localize.spans.moments import Moment

# Words that say nothing about what is seen; longer ones are compared between sentences.
_FUNCTION_WORDS = frozenset(
    re.findall(
        r"[a-z]+",
        "a an and are as at be by for from has have he her his in into is it its of off on one "
        "onto or out over she some that the their them then there they this to two under up was "
        "while who with",
    )
)


@dataclass(frozen=True, slots=True)
class LabelledQuery:
    """A sentence about a video, and what is known about it.

    Attributes:
        video: The video's file.
        name: What the annotations call the video.
        query: The sentence.
        windows: The spans that it describes, ``(start, end)`` in seconds; empty where the video
            does not show it.
    """

    video: Path
    name: str
    query: str
    windows: tuple[tuple[float, float], ...]

    @property
    def present(self) -> bool:
        """Whether the video shows what the sentence describes."""
        return bool(self.windows)

    def overlap(self, moment: Moment | None) -> float:
        """The highest IoU of an answer with a labelled span; 0 without an answer or a span.

        Args:
            moment: The answer, or None for "no such moment".
        """
        if moment is None:
            return 0.0
        spans = (Moment(start, end, 1.0) for start, end in self.windows)
        return max((moment.overlap(span) for span in spans), default=0.0)


def read_labelled(
    path: str | Path, *, videos: str | Path, skip_missing: bool = False
) -> tuple[LabelledQuery, ...]:
    """Read labelled moments from any annotation file that vtloc reads.

    A query whose list of moments is empty says that its video does not show it.

    Args:
        path: The file, as ``vtloc.annotations.read_split`` takes it.
        videos: The folder that holds the videos, under the annotation's names, with or without
            a suffix.
        skip_missing: Leave out queries whose video is not there, instead of refusing the file.

    Raises:
        AnnotationError: The file cannot be read, a video is not there, or nothing is left.
    """
    from vtloc.annotations.readers import read_split

    folder = Path(videos)
    if not folder.is_dir():
        raise AnnotationError("there is no such folder of videos", where=folder)
    named = NamedVideos(folder)
    found: list[LabelledQuery] = []
    for example in read_split(path).examples:
        video = named.find(example.video)
        if video is not None:
            windows = tuple((moment.start, moment.end) for moment in example.moments)
            found.append(LabelledQuery(Path(video), example.video, example.query, windows))
        elif not skip_missing:
            raise AnnotationError(
                f"the video {example.video!r} of query {example.id} is not in {folder}",
                where=path,
                remedy="Fetch it, or leave such queries out with --skip-missing",
            )
    if not any(one.present for one in found):
        raise AnnotationError("none of the labelled videos is available", where=path)
    return tuple(found)


def with_absent(
    labelled: Sequence[LabelledQuery], *, per_video: int, seed: int = 0
) -> tuple[LabelledQuery, ...]:
    """Add sentences of other videos, as ones that a video does not show.

    A sentence that shares a telling word with one of the video's own is not taken: the video may
    well show it.

    Args:
        labelled: What is labelled; lines without windows stay as they are.
        per_video: Sentences to add for each video; fewer where fewer are strange to it.
        seed: Of the draw.
    """
    random = np.random.default_rng(seed)
    described = tuple(dict.fromkeys(one.query for one in labelled if one.present))
    words = {sentence: telling_words(sentence) for sentence in described}
    added: list[LabelledQuery] = []
    for video, name in dict.fromkeys((one.video, one.name) for one in labelled):
        own = [telling_words(one.query) for one in labelled if one.video == video]
        taken = frozenset().union(*own)
        strange = [sentence for sentence in described if not words[sentence] & taken]
        chosen = random.permutation(len(strange))[:per_video]
        added.extend(LabelledQuery(video, name, strange[index], ()) for index in sorted(chosen))
    return (*labelled, *added)


def check_enough(labelled: Sequence[LabelledQuery]) -> None:
    """Refuse, before any video is read, labels that are too few to calibrate scores by.

    Raises:
        CalibrationError: Fewer than ``MINIMUM_ANSWERS`` sentences are in their video.
    """
    present = sum(query.present for query in labelled)
    if present < MINIMUM_ANSWERS:
        raise CalibrationError(
            f"{present} labelled sentences are too few; at least {MINIMUM_ANSWERS} are needed",
            remedy="Label more moments; a few hundred make a score worth trusting",
        )


def telling_words(sentence: str) -> frozenset[str]:
    """The words of a sentence that say what is seen, in lower case and without a plural's s."""
    words = re.findall(r"[^\W_]+", sentence.casefold())
    return frozenset(word.removesuffix("s") for word in words if word not in _FUNCTION_WORDS)
