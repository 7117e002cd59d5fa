"""The service as tools for agents: what each takes, and what it answers."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vtloc_runtime.errors import UsageError
from vtloc_runtime.library.film_search import SearchOptions
from vtloc_runtime.localize.limits import MOST_MOMENTS
from vtloc_runtime.serve.schema import (
    Like,
    MomentsAnswer,
    Name,
    Rewrites,
    SearchResult,
    Sentence,
    first_fault,
)

if TYPE_CHECKING:
    from vtloc_runtime.serve.service import Service

_LISTED = 500
_MOST_FILMS = 100
_PATIENCE = 20.0
"""Seconds that a search waits for new videos to be indexed."""


_Asked = Annotated[
    Sentence | None,
    Field(description='What is seen, such as "a red car"; may be left out with pictures.'),
]
_Moments = Annotated[
    int, Field(ge=1, le=MOST_MOMENTS, description="Maximum number of moments of a video.")
]


class _Arguments(BaseModel):
    # An argument that is ignored would change what is asked.
    model_config = ConfigDict(extra="forbid")


class FindArguments(_Arguments):
    """Find the moments of one video that a sentence describes, in seconds, best first."""

    video: Name = Field(description="A name that describe lists.")
    sentence: _Asked = None
    rewrites: Rewrites = ()
    like: Like = ()
    moments: _Moments = 1

    def answer(self, service: Service) -> MomentsAnswer:
        """The moments."""
        found = service.find(
            self.video,
            [] if self.sentence is None else [self.sentence],
            rewrites=self.rewrites,
            like=self.like,
            moments=self.moments,
        )
        return MomentsAnswer.from_answers(found)


class SearchArguments(_Arguments):
    """Find the videos that show what a sentence describes, and the best moment of each.

    The clearest comes first. Videos that are new take a while to be indexed: "waiting" says
    how many.
    """

    sentence: _Asked = None
    rewrites: Rewrites = ()
    like: Like = ()
    top: int = Field(10, ge=1, le=_MOST_FILMS, description="Maximum number of videos.")
    moments: _Moments = 1
    min_score: float = Field(0.0, ge=0, le=1, description="Leave out moments with a lower score.")
    found_only: bool = Field(True, description="Leave out videos that do not show it.")

    def answer(self, service: Service) -> SearchResult:
        """The videos."""
        found = service.search(
            self.sentence,
            SearchOptions(self.top, self.moments, self.min_score, self.found_only),
            rewrites=self.rewrites,
            like=self.like,
            wait=_PATIENCE,
        )
        return SearchResult.from_answer(found)


class Described(BaseModel):
    """Videos that can be asked about."""

    videos: list[str] = Field(description="Names, to be used with find.")
    total: int = Field(description="Number of videos, those that are not listed included.")
    duration: float | None = Field(
        default=None,
        description="The length of the one video, seconds; null before it was first read.",
    )
    size: int | None = Field(default=None, description="The size of the one video, bytes.")
    problem: str | None = Field(default=None, description="Why the one video cannot be read.")


class DescribeArguments(_Arguments):
    """List the videos, or describe one of them."""

    video: Name | None = Field(None, description="The name of one video; null lists them all.")

    def answer(self, service: Service) -> Described:
        """The videos, or the one."""
        if self.video is None:
            names = service.folders.names()
            return Described(videos=names[:_LISTED], total=len(names))
        found = service.describe(self.video)
        return Described(
            videos=[found.video],
            total=1,
            duration=found.duration,
            size=found.size,
            problem=found.problem,
        )


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool.

    Attributes:
        arguments: What it takes; its ``answer`` is what the tool does.
        answers: What it gives.
    """

    arguments: type[FindArguments | SearchArguments | DescribeArguments]
    answers: type[BaseModel]

    @property
    def description(self) -> str:
        """What it does, for the agent."""
        return inspect.getdoc(self.arguments) or ""

    def call(self, service: Service, arguments: dict[str, Any]) -> dict[str, Any]:
        """Use the tool.

        Args:
            service: Answers the question.
            arguments: As the agent sent them.

        Raises:
            UsageError: The arguments are invalid.
            VtlocError: The question cannot be answered.
        """
        try:
            asked = self.arguments.model_validate(arguments)
        except ValidationError as error:
            raise UsageError(first_fault(error.errors())) from error
        return asked.answer(service).model_dump(mode="json")


TOOLS = {
    "find": Tool(FindArguments, MomentsAnswer),
    "search": Tool(SearchArguments, SearchResult),
    "describe": Tool(DescribeArguments, Described),
}
