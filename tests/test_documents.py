"""The documents agree with the tree: commands parse with today's options, links lead somewhere.

Commands are parsed, never run. In a code block a command must be whole, so that it can be copied;
between backticks in a sentence it may be a part, whose command and options must exist.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer

from vtloc_runtime.cli.main import COMMANDS

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted({*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")} - {ROOT / "CHANGELOG.md"})
APPLICATIONS = {
    "vtloc": "vtloc.cli.main",
    "vtloc-export": "vtloc_export.cli.main",
    "vtloc-calibrate": "vtloc_calibration.cli.main",
    "vtloc-run": "vtloc_runtime.cli.find",
} | {f"vtloc-run {name}": f"vtloc_runtime.cli.{name}" for name in COMMANDS}
PROGRAMS = {name.split()[0] for name in APPLICATIONS}
ELIDED = {"...", "…"}

_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
_PROGRAM = re.compile(r"(?<![\w/.-])(?:vtloc-run|vtloc-export|vtloc-calibrate|vtloc)(?= )")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")


def name_of(document: Path) -> str:
    return str(document.relative_to(ROOT))


def code_blocks(text: str) -> Iterator[str]:
    """The fenced and the indented blocks of a page that may hold commands."""
    for _, language, block in _FENCE.findall(text):
        if language in {"", "console", "sh", "bash", "shell"}:
            yield block
    for block in re.split(r"\n{2,}", _FENCE.sub("", text)):
        if all(line.startswith("    ") for line in block.strip("\n").splitlines()):
            yield block


def commands(text: str) -> Iterator[list[str]]:
    """Every command line of vtloc's programs in the code blocks, split into words."""
    for block in code_blocks(text):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            for part in re.split(r"&&|;|\|(?!\|)", line):
                words = shlex.split(part, comments=True) if _PROGRAM.search(part) else []
                while words and (words[0] == "$" or re.match(r"\w+=", words[0])):
                    words = words[1:]
                if words and words[0] in PROGRAMS:
                    yield words


def mentions(text: str) -> Iterator[list[str]]:
    """Every command between backticks in a sentence, split into words."""
    for span in re.findall(r"`([^`]+)`", _FENCE.sub("", text)):
        if match := _PROGRAM.match(span):
            yield shlex.split(span[match.start() :])


@cache
def application(program: str) -> Any:
    return typer.main.get_command(import_module(APPLICATIONS[program]).app)


def command_of(words: list[str]) -> tuple[str, Any, list[str]]:
    """The click command that a command line reaches, its name, and the words left for it."""
    program, rest = words[0], words[1:]
    if rest and f"{program} {rest[0]}" in APPLICATIONS:
        program, rest = f"{program} {rest[0]}", rest[1:]
    command = application(program)
    while (subcommands := getattr(command, "commands", None)) and rest and rest[0][:1] != "-":
        assert rest[0] in subcommands, f"{program} has no command {rest[0]}"
        program, command, rest = f"{program} {rest[0]}", subcommands[rest[0]], rest[1:]
    return program, command, rest


def unknown_options(command: Any, words: list[str]) -> set[str]:
    known = {
        name
        for parameter in command.params
        for name in (*parameter.opts, *parameter.secondary_opts)
    } | {"--help"}
    return {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)} - known


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_command_in_a_code_block_parses(document: Path) -> None:
    for words in commands(document.read_text(encoding="utf-8")):
        program, command, rest = command_of(words)
        if ELIDED & set(rest):
            assert not unknown_options(command, rest), shlex.join(words)
            continue
        try:
            command.make_context(program, rest)
        except Exception as error:  # noqa: BLE001 - whatever the parser refuses fails the test
            pytest.fail(f"{shlex.join(words)}: {error}")


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_command_in_a_sentence_exists(document: Path) -> None:
    for words in mentions(document.read_text(encoding="utf-8")):
        _, command, rest = command_of(words)
        assert not unknown_options(command, rest), shlex.join(words)


def anchors(document: Path) -> set[str]:
    """The anchors that a page's headings get, as on GitHub."""
    text = _FENCE.sub("", document.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ +(.+?) *$", text, re.MULTILINE)
    bare = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in bare}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    text = _FENCE.sub("", document.read_text(encoding="utf-8"))
    for target in filter(None, (a or b for a, b in _LINK.findall(text))):
        if re.match(r"\w+:", target):
            continue
        path, _, anchor = target.partition("#")
        page = (document.parent / path).resolve() if path else document
        assert page.exists(), f"{target}: no such file"
        if anchor:
            assert anchor in anchors(page), f"{target}: no such heading"


@cache
def tree() -> frozenset[str]:
    """Every file and folder of the project, relative to its root, folders with a slash."""
    found: set[str] = set()
    for top in (
        "benchmarks",
        "calibration",
        "docs",
        "export",
        "recipes",
        "runtime",
        "tests",
        "vtloc",
    ):
        for path in (ROOT / top).rglob("*"):
            found.add(f"/{path.relative_to(ROOT)}{'/' if path.is_dir() else ''}")
    return frozenset(found)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_source_file_that_is_named_exists(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for name in re.findall(r"`([\w./-]+\.py|[a-z_]+(?:/[a-z_]+)+/)`", text):
        assert any(path.endswith(f"/{name}") for path in tree()), f"{name}: no such file"
    for module in re.findall(r"python -m ((?:benchmarks|recipes|tests)[\w.]+)", text):
        assert {f"/{module.replace('.', '/')}{end}" for end in (".py", "/__main__.py")} & tree()


def other_commands(text: str, program: str) -> Iterator[list[str]]:
    """The words after ``make`` or ``pip install`` in the code blocks."""
    for block in code_blocks(text):
        for line in re.split(r"\n|&&|;", re.sub(r"\\\n\s*", " ", block)):
            if match := re.match(rf"\s*(?:\$ )?(?:\S*/)?{program} (.+)", line):
                yield shlex.split(match[1], comments=True)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_target_of_make_exists(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    targets = re.findall(
        r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
    )
    named = [word for words in other_commands(text, "make") for word in words if "=" not in word]
    for span in re.findall(r"`(?:\w+=\w+ )?make ([^`]+)`", _FENCE.sub("", text)):
        named += [word for word in span.split() if "=" not in word]
    assert set(named) <= set(targets)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_extra_that_is_installed_exists(document: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for words in other_commands(document.read_text(encoding="utf-8"), "pip install"):
        for word in words:
            if match := re.fullmatch(r"(?:\.|vtloc|\S*\.whl)\[(.+)\]", word):
                assert set(match[1].split(",")) <= set(project["optional-dependencies"]), word


def test_the_readme_and_the_guides_hold_commands() -> None:
    # So that a change of their markup cannot make the tests above pass by finding nothing.
    for page in ("README.md", "docs/runtime.md", "docs/export.md", "docs/training.md"):
        assert list(commands((ROOT / page).read_text(encoding="utf-8"))), page
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert ["demo"] in list(other_commands(readme, "make"))
    assert [".[cpu]"] in list(other_commands(readme, "pip install"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("```console\n$ vtloc-run a.mp4 -q 'a b'  # why\n```", "vtloc-run a.mp4 -q 'a b'"),
        ("    A=b vtloc train x \\\n        --out y\n", "vtloc train x --out y"),
        ("```console\n$ cd /x && vtloc-export verify B\n```", "vtloc-export verify B"),
        ("```python\nvtloc-run a.mp4\n```", None),
    ],
)
def test_commands_are_found(text: str, found: str | None) -> None:
    assert [shlex.join(words) for words in commands(text)] == ([found] if found else [])


def test_a_command_that_is_out_of_date_is_noticed() -> None:
    assert unknown_options(application("vtloc-run"), ["a.mp4", "--patience", "3"]) == {"--patience"}
    with pytest.raises(AssertionError, match="no command compile"):
        command_of(["vtloc-export", "compile", "B"])
