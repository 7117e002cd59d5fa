"""Questions to verify a bundle with: synthetic pictures, or labelled videos."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vtloc.annotations.readers import read_split
from vtloc.errors import AnnotationError
from vtloc_export.parity.probes import Lengths, probes
from vtloc_runtime.batch.job_lists.folder_listing import NamedVideos
from vtloc_runtime.video import FrameSequence

if TYPE_CHECKING:
    from vtloc.annotations.examples import Example

SENTENCES = (
    "a person opens the door",
    "somebody pours coffee into a cup",
    "the dog runs across the lawn and catches a ball",
    "two men are shown talking",
    "she puts the bowl down and stirs",
    "a car drives through the snow",
    "the crowd cheers",
    "he is seen speaking to the camera while holding a guitar",
)
_PICTURES = 6
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Question:
    """A video and the sentences asked about it.

    Attributes:
        video: A path, or frames with times.
        queries: The sentences.
        truth: Their true moments, where they are labelled.
    """

    video: Any
    queries: tuple[str, ...]
    truth: tuple[tuple[Any, ...], ...] | None = None


def synthetic_questions() -> tuple[Question, ...]:
    """Synthetic pictures that change every few seconds, and sentences; needs no file."""
    (probe,) = probes("visual", {"size": 256}, (Lengths(_PICTURES),), seed=3)
    pictures = np.asarray(probe.inputs["frames"], dtype=np.uint8)
    shown = np.repeat(pictures, _SHOWN, axis=0)
    return (Question(FrameSequence(shown, np.arange(float(len(shown)))), SENTENCES),)


def labelled_questions(path: Path) -> tuple[Question, ...]:
    """Labelled sentences by video; the videos are in the folder of the labels, or below it.

    Args:
        path: Labelled moments, in any format that ``vtloc.annotations`` reads.

    Raises:
        AnnotationError: The labels cannot be read, or a video is missing.
        JobError: The folder cannot be looked into.
    """
    named = NamedVideos(path.parent)
    by_video: dict[str, list[Example]] = {}
    for example in read_split(path).examples:
        if example.moments:
            by_video.setdefault(example.video, []).append(example)
    questions = []
    for name, examples in by_video.items():
        video = named.find(name)
        if video is None:
            raise AnnotationError(
                f"the labelled video {name!r} is missing",
                where=path,
                remedy="Put it into the folder of the labels",
            )
        queries = tuple(example.query for example in examples)
        questions.append(Question(video, queries, tuple(item.moments for item in examples)))
    return tuple(questions)
