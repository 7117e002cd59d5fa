"""The service as tools for agents: the Model Context Protocol over standard input and output."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel, Field

import vtloc_runtime
from vtloc_runtime.errors import VtlocError
from vtloc_runtime.library.film_search import SearchOptions
from vtloc_runtime.localize.limits import MOST_MOMENTS
from vtloc_runtime.serve.schema import Like, MomentsAnswer, Rewrites, SearchResult, Sentence

if TYPE_CHECKING:
    from vtloc_runtime.serve.service import Service

_LISTED = 500
_PATIENCE = 20.0
"""Seconds that a search waits for new videos to be indexed."""

_Asked = Annotated[
    Sentence | None,
    Field(description='What is seen, such as "a red car"; may be left out with pictures.'),
]
_Moments = Annotated[
    int, Field(ge=1, le=MOST_MOMENTS, description="Maximum number of moments of a video.")
]

_INSTRUCTIONS = """\
Finds moments in videos: give a sentence that describes what is seen, get start and end in seconds.
Sentences must be English and describe visible things and scenes; nothing is known about sound.
Start with "describe" to see which videos there are. "find" looks into one video, "search" into all
of them. An empty list of moments means that the video does not show what the sentence describes."""


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


def create_server(service: Service) -> MCPServer[None]:
    """The server of the tools.

    Args:
        service: Answers the questions.
    """
    server: MCPServer[None] = MCPServer(
        "vtloc", instructions=_INSTRUCTIONS, version=vtloc_runtime.__version__, log_level="WARNING"
    )

    def find(
        video: Annotated[str, Field(description="A name that describe lists.", max_length=4096)],
        sentence: _Asked = None,
        rewrites: Rewrites = (),
        like: Like = (),
        moments: _Moments = 1,
    ) -> MomentsAnswer:
        """Find the moments of one video that a sentence describes, in seconds, best first."""
        with _tool_errors():
            queries = [] if sentence is None else [sentence]
            found = service.find(video, queries, rewrites=rewrites, like=like, moments=moments)
            return MomentsAnswer.from_answers(found)

    def search(
        *,
        sentence: _Asked = None,
        rewrites: Rewrites = (),
        like: Like = (),
        top: Annotated[int, Field(ge=1, le=100, description="Maximum number of videos.")] = 10,
        moments: _Moments = 1,
        min_score: Annotated[
            float, Field(ge=0, le=1, description="Leave out moments with a lower score.")
        ] = 0.0,
        found_only: Annotated[
            bool, Field(description="Leave out videos that do not show it.")
        ] = True,
    ) -> SearchResult:
        """Find the videos that show what a sentence describes, and the best moment of each.

        The clearest comes first. Videos that are new take a while to be indexed: "waiting" says
        how many.
        """
        with _tool_errors():
            options = SearchOptions(top, moments, min_score, found_only)
            found = service.search(sentence, options, rewrites=rewrites, like=like, wait=_PATIENCE)
            return SearchResult.from_answer(found)

    def describe(
        video: Annotated[
            str | None, Field(description="The name of one video; null lists them all.")
        ] = None,
    ) -> Described:
        """List the videos, or describe one of them."""
        with _tool_errors():
            if video is not None:
                found = service.describe(video)
                return Described(
                    videos=[found.video],
                    total=1,
                    duration=found.duration,
                    size=found.size,
                    problem=found.problem,
                )
            names = service.folders.names()
            return Described(videos=names[:_LISTED], total=len(names))

    for tool in (find, search, describe):
        server.add_tool(tool, description=inspect.getdoc(tool))
    return server


@contextmanager
def _tool_errors() -> Iterator[None]:
    """Show an error to the agent, without places on this machine."""
    try:
        yield
    except VtlocError as error:
        remedy = f". {error.remedy}" if error.remedy else ""
        raise ToolError(f"{error.what}{remedy}") from error
