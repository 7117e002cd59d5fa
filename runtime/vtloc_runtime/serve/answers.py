"""The service's answers, for HTTP and for agents alike."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vtloc_runtime.batch.results.records import Record
    from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo
    from vtloc_runtime.localize.spans.moments import Localization


@dataclass(frozen=True, slots=True)
class VideoAnswers:
    """What was found in one video.

    Attributes:
        video: The video's name.
        duration: Its length, seconds.
        answers: One for each sentence.
        warnings: Warnings from reading it.
        encoded: The video as the localizer sees it.
    """

    video: str
    duration: float
    answers: tuple[Localization, ...]
    warnings: tuple[str, ...]
    encoded: EncodedVideo = field(repr=False)


@dataclass(frozen=True, slots=True)
class SearchAnswer:
    """What was found in all videos.

    Attributes:
        query: The sentence.
        records: The answer of each video, the one that shows it most clearly first; ``video`` is
            the video's name.
        searched: Number of videos that were searched.
        waiting: Number of videos that are not indexed yet.
        unreadable: Number of videos that cannot be read.
    """

    query: str
    records: tuple[Record, ...]
    searched: int
    waiting: int
    unreadable: int


@dataclass(frozen=True, slots=True)
class VideoDescription:
    """A video that can be asked about.

    Attributes:
        video: Its name.
        size: Bytes.
        duration: Seconds; None before it was first encoded.
        problem: Why it cannot be read; None if it can, or was not tried.
    """

    video: str
    size: int
    duration: float | None = None
    problem: str | None = None
