"""``vtloc-run mcp``: an agent's client starts it, lists its tools and uses them."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from PIL import Image


def use(
    folder: Path, bundle: Path, calls: list[tuple[str, dict[str, Any]]]
) -> tuple[Any, list[Any]]:
    """The tools, and what calls of them return."""

    async def talk() -> tuple[Any, list[Any]]:
        words = ["-c", "from vtloc_runtime.cli.main import main; main()", "mcp", str(folder)]
        parameters = StdioServerParameters(
            command=sys.executable, args=[*words, "-b", str(bundle)], env={**os.environ}
        )
        async with Client(parameters, read_timeout_seconds=120) as client:
            tools = (await client.list_tools()).tools
            return tools, [await client.call_tool(name, values) for name, values in calls]

    return asyncio.run(talk())


def test_an_agent_finds_searches_and_describes(films: Path, shared_bundle: Path) -> None:
    blue, both = "films/more/blue.mp4", "films/red, green.mp4"
    Image.new("RGB", (64, 48), (0, 255, 0)).save(films / "green.png")
    picture = {"video": both, "like": ["films/green.png"]}
    tools, (listed, found, seen, searched, alike, described) = use(
        films,
        shared_bundle,
        [
            ("describe", {}),
            ("find", {"video": both, "sentence": "green", "rewrites": ["a green screen"]}),
            ("find", picture),
            ("search", {"sentence": "blue", "top": 1, "moments": 2, "min_score": 0.1}),
            ("search", {"like": ["films/green.png"], "top": 1}),
            ("describe", {"video": blue}),
        ],
    )
    assert {tool.name for tool in tools} == {"find", "search", "describe"}
    assert all(tool.description and tool.output_schema for tool in tools)
    assert listed.structured_content["videos"] == ["films/broken.mp4", blue, both]
    for answer in (found, seen):
        moment = answer.structured_content["answers"][0]["moments"][0]
        assert (moment["start"], moment["end"]) == (
            pytest.approx(3, abs=0.2),
            pytest.approx(6, abs=0.2),
        )
    assert [one["video"] for one in alike.structured_content["videos"]] == [both]
    assert [one["video"] for one in searched.structured_content["videos"]] == [blue]
    assert described.structured_content["duration"] == pytest.approx(4, abs=0.2)


def test_errors_are_told_to_the_agent_and_name_no_place(films: Path, shared_bundle: Path) -> None:
    bad: list[dict[str, Any]] = [
        {"video": "../films/more/blue.mp4", "sentence": "blue"},
        {"video": "/etc/passwd", "sentence": "blue"},
        {"video": str(films / "more" / "blue.mp4"), "sentence": "blue"},
        {"video": "films/broken.mp4", "sentence": "blue"},
        {"video": "films/more/blue.mp4", "sentence": "   "},
        {"video": "films/more/blue.mp4", "sentence": ""},
        {"video": "films/more/blue.mp4", "sentence": "blue", "moments": 0},
        {"video": "films/more/blue.mp4", "like": ["/etc/passwd"]},
        {"video": "films/more/blue.mp4", "like": ["films/../green.png"]},
        {"video": "films/more/blue.mp4"},
        {"video": "films/more/blue.mp4", "sentance": "blue"},
        {"video": ["films/more/blue.mp4"], "sentence": "blue"},
        {"video": "films/more/blue.mp4", "sentence": "x" * 10**6},
        {},
    ]
    _, answers = use(films, shared_bundle, [("find", one) for one in bad])
    for answer in answers:
        assert answer.is_error
        assert answer.content[0].text
        assert "\n" not in answer.content[0].text
        assert len(answer.content[0].text) < 200
    for answer in answers[:5]:
        assert str(films.parent) not in answer.content[0].text.replace(str(bad[2]["video"]), "")
