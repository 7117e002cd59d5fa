"""The talk with an agent: the Model Context Protocol over standard input and output."""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import mcp_types
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

import vtloc_runtime
from vtloc_runtime.errors import VtlocError
from vtloc_runtime.serve.agent_tools import TOOLS

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp.server.context import ServerRequestContext

    from vtloc_runtime.serve.service import Service

_INSTRUCTIONS = """\
Finds moments in videos: give a sentence that describes what is seen, get start and end in seconds.
Sentences must be English and describe visible things and scenes; nothing is known about sound.
Start with "describe" to see which videos there are. "find" looks into one video, "search" into all
of them. An empty list of moments means that the video does not show what the sentence describes."""

_CLOSED = (anyio.BrokenResourceError, anyio.ClosedResourceError)


def converse(service: Service, *, leave: Callable[[], None]) -> None:
    """Answer an agent until standard input ends.

    Args:
        service: Answers the questions.
        leave: Ends the process, where standard output takes no more: the thread that waits for
            standard input would keep it alive.

    Raises:
        OSError: Standard output cannot be written.
    """
    # What agents send would fill a log.
    logging.getLogger("mcp").setLevel(logging.CRITICAL)
    try:
        anyio.run(_converse, service, leave)
    except ExceptionGroup as group:
        error: Exception = group
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        raise error from None


async def _converse(service: Service, leave: Callable[[], None]) -> None:
    server = _new_server(service)
    async with stdio_server() as (incoming, outgoing):
        forward, messages = anyio.create_memory_object_stream[SessionMessage | Exception]()

        async def receive() -> None:
            async with forward, incoming:
                try:
                    async for message in incoming:
                        if isinstance(message, Exception):
                            await outgoing.send(_refusal(message))
                        else:
                            await forward.send(message)
                except _CLOSED:
                    # The talk is over at the other end, too.
                    return
                finally:
                    # What is being read is for nobody.
                    service.close()

        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(receive)
                await server.run(messages, outgoing, server.create_initialization_options())
        except anyio.get_cancelled_exc_class():
            # Nothing else than a failed write cancels the talk.
            leave()
            raise


def _new_server(service: Service) -> Server[Any]:
    listed = [_listed(name) for name in TOOLS]

    async def list_tools(*_: object) -> mcp_types.ListToolsResult:
        return mcp_types.ListToolsResult(tools=listed)

    async def call_tool(
        _: ServerRequestContext[Any], asked: mcp_types.CallToolRequestParams
    ) -> mcp_types.CallToolResult:
        return await anyio.to_thread.run_sync(
            partial(_call, service, asked.name, asked.arguments or {})
        )

    return Server(
        "vtloc",
        version=vtloc_runtime.__version__,
        instructions=_INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def _listed(name: str) -> mcp_types.Tool:
    tool = TOOLS[name]
    return mcp_types.Tool(
        name=name,
        description=tool.description,
        input_schema=tool.arguments.model_json_schema(),
        output_schema=tool.answers.model_json_schema(mode="serialization"),
    )


def _call(service: Service, name: str, arguments: dict[str, Any]) -> mcp_types.CallToolResult:
    """Use a tool. Errors are for the agent to read, and name no place on this machine."""
    tool = TOOLS.get(name)
    if tool is None:
        return _failed(f"there is no tool {name[:60]!r}; there are {', '.join(TOOLS)}")
    try:
        found = tool.call(service, arguments)
    except VtlocError as error:
        return _failed(f"{error.what}. {error.remedy}" if error.remedy else error.what)
    except Exception as error:  # noqa: BLE001 - the talk goes on, whatever one call ran into
        return _failed(f"internal error: {type(error).__name__}")
    text = json.dumps(found, ensure_ascii=False)
    return mcp_types.CallToolResult(
        content=[mcp_types.TextContent(type="text", text=text)], structured_content=found
    )


def _failed(text: str) -> mcp_types.CallToolResult:
    return mcp_types.CallToolResult(
        content=[mcp_types.TextContent(type="text", text=text)], is_error=True
    )


def _refusal(error: Exception) -> SessionMessage:
    """The answer to a message that is not one, such as text with half of a surrogate pair.

    Without it, the agent would wait.
    """
    inputs = [one["input"] for one in error.errors()] if isinstance(error, ValidationError) else []
    found = mcp_types.ErrorData(code=mcp_types.INVALID_REQUEST, message="the message is invalid")
    return SessionMessage(
        mcp_types.JSONRPCError(jsonrpc="2.0", id=_identifier(inputs), error=found)
    )


def _identifier(inputs: list[Any]) -> int | str | None:
    """The id of a message that is invalid, so that its sender knows which one; None without."""
    for given in inputs:
        message = given
        if isinstance(given, str):
            with suppress(ValueError, RecursionError):
                message = json.loads(given)
        found = message.get("id") if isinstance(message, dict) else None
        if isinstance(found, int | str) and not isinstance(found, bool):
            return found if isinstance(found, int) or found.isprintable() else None
    return None
