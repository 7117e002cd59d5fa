"""Requests and answers of the HTTP API, as its OpenAPI description shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field

from vtloc_runtime.localize.limits import MOST_MOMENTS
from vtloc_runtime.serve.request_bounds import LONGEST_QUERY, MOST_PICTURES, MOST_QUERIES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vtloc_runtime.localize.spans.moments import Localization, Moment
    from vtloc_runtime.serve.answers import SearchAnswer, VideoAnswers

Sentence = Annotated[str, Field(min_length=1, max_length=LONGEST_QUERY)]

Name = Annotated[str, Field(min_length=1, max_length=4096)]
Rewrites = Annotated[
    tuple[Sentence, ...],
    Field(max_length=MOST_QUERIES - 1, description="Other wordings of the one sentence."),
]
Like = Annotated[
    tuple[Name, ...],
    Field(
        max_length=MOST_PICTURES,
        description="Pictures to resemble: each a folder's name and the path below it, such as "
        "films/dog.jpg, or a name that an upload was given. With a sentence, both ask together.",
    ),
]

_MOST_FILMS = 1000


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class MomentsRequest(_Request):
    """A question about one video."""

    video: Name = Field(
        description="A name that GET /v1/videos lists, or that an upload was given."
    )
    queries: tuple[Sentence, ...] = Field(
        (), max_length=MOST_QUERIES, description="Sentences to find; may be empty with pictures."
    )
    rewrites: Rewrites = ()
    like: Like = ()
    moments: int = Field(
        1, ge=1, le=MOST_MOMENTS, description="Maximum number of moments per sentence."
    )


class PageQuestion(_Request):
    """A question from the page."""

    video: Name
    query: Sentence


class SearchRequest(_Request):
    """A question about all videos."""

    query: Sentence | None = Field(
        None, description="A sentence to search for; may be left out with pictures."
    )
    rewrites: Rewrites = ()
    like: Like = ()
    top: int = Field(20, ge=1, le=_MOST_FILMS, description="Maximum number of videos.")
    moments: int = Field(
        1, ge=1, le=MOST_MOMENTS, description="Maximum number of moments per video."
    )
    min_score: float = Field(
        0.0, ge=0, le=1, allow_inf_nan=False, description="Leave out moments with a lower score."
    )
    found_only: bool = Field(
        False, description="Leave out videos that do not show what the sentence describes."
    )


def first_fault(errors: Sequence[Any]) -> str:
    """The first thing that is wrong with a request, without repeating what it holds.

    Args:
        errors: What pydantic found.
    """
    first = errors[0]
    place = ".".join(str(part) for part in first["loc"] if part != "body")
    return f"{place}: {first['msg']}" if place else str(first["msg"])


class FoundMoment(BaseModel):
    """A moment, in seconds."""

    start: float
    end: float
    score: float

    @classmethod
    def from_moment(cls, moment: Moment) -> Self:
        """The moment as it is sent: milliseconds."""
        return cls(
            start=round(moment.start, 3), end=round(moment.end, 3), score=round(moment.score, 4)
        )


class Answer(BaseModel):
    """The answer to one sentence."""

    query: str = Field(description="The sentence; empty where pictures alone asked.")
    moments: list[FoundMoment] = Field(description='Best first; empty for "no such moment".')
    presence: float | None = Field(
        description="How clearly the video shows what the sentence describes; videos can be ranked "
        "by it."
    )
    warnings: list[str]

    @classmethod
    def from_localization(cls, found: Localization) -> Self:
        """The answer as it is sent."""
        return cls(
            query=found.query,
            moments=[FoundMoment.from_moment(moment) for moment in found.moments],
            presence=None if found.presence is None else round(found.presence, 4),
            warnings=list(found.warnings),
        )


class MomentsAnswer(BaseModel):
    """What was found in one video."""

    video: str
    duration: float = Field(description="Seconds.")
    answers: list[Answer] = Field(description="In the order of the sentences.")
    warnings: list[str] = Field(description="Warnings from reading the video.")

    @classmethod
    def from_answers(cls, found: VideoAnswers) -> Self:
        """The answer as it is sent."""
        return cls(
            video=found.video,
            duration=round(found.duration, 3),
            answers=[Answer.from_localization(one) for one in found.answers],
            warnings=list(found.warnings),
        )


class FoundVideo(BaseModel):
    """A video of a search."""

    video: str
    duration: float | None
    moments: list[FoundMoment]
    presence: float | None
    warnings: list[str]


class SearchResult(BaseModel):
    """What was found in all videos."""

    query: str
    videos: list[FoundVideo] = Field(
        description="The video that shows the sentence most clearly first."
    )
    searched: int = Field(description="Number of videos that were searched.")
    waiting: int = Field(description="Number of videos that are not indexed yet.")
    unreadable: int = Field(description="Number of videos that cannot be read.")

    @classmethod
    def from_answer(cls, found: SearchAnswer) -> Self:
        """The answer as it is sent."""
        videos = [
            FoundVideo(
                video=record.video,
                duration=record.duration,
                moments=[
                    FoundMoment(start=one.start, end=one.end, score=one.score)
                    for one in record.moments or ()
                ],
                presence=record.presence,
                warnings=list(record.warnings),
            )
            for record in found.records
        ]
        return cls(
            query=found.query,
            videos=videos,
            searched=found.searched,
            waiting=found.waiting,
            unreadable=found.unreadable,
        )


class VideoList(BaseModel):
    """Videos that can be asked about."""

    videos: list[str]
    total: int = Field(description="Number of videos, those that are not listed included.")


class Uploaded(BaseModel):
    """A video that was uploaded."""

    video: str = Field(description="The name to ask for; it is known to the uploader only.")


class UploadedPicture(BaseModel):
    """A picture that was uploaded."""

    picture: str = Field(description="The name to ask with; it is known to the uploader only.")


class Health(BaseModel):
    """Whether the service works."""

    status: str
    version: str
    bundle: str
    backend: str


class Problem(BaseModel):
    """Why a request was not answered."""

    error: str
    kind: str
    remedy: str | None = None
