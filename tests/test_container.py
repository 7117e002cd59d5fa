"""Every file, extra, command and option that the image and the compose file name exists."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from vtloc_runtime.cli import serve

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
SERVICE = COMPOSE["services"]["vtloc"]


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile, continued lines joined."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line.strip()]  # type: ignore[misc]


def test_the_image_copies_what_there_is_and_what_the_build_needs() -> None:
    copied = set[str]()
    for name, rest in instructions():
        if name == "COPY":
            *sources, _ = shlex.split(rest)
            copied.update(sources)
    assert all((ROOT / source).exists() for source in copied)
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]
    packages = build["build"]["targets"]["wheel"]["packages"]
    assert {Path(package).parts[0] for package in packages} <= copied
    assert {"pyproject.toml", PROJECT["readme"], "LICENSE"} <= copied


@pytest.mark.parametrize("cuda", ["12", "13"])
def test_the_image_installs_extras_that_there_are(cuda: str) -> None:
    (installed,) = (rest for name, rest in instructions() if name == "RUN")
    found = re.search(r'pip install "\.\[(.*?)\]"', installed)
    assert found
    extras = found[1].replace("${CUDA}", cuda).split(",")
    assert set(extras) <= set(PROJECT["optional-dependencies"])
    assert {"serve", "mcp"} <= set(extras)


def test_the_image_is_pinned_and_runs_as_nobody_of_note() -> None:
    named = dict(instructions())
    assert re.fullmatch(r"python:3\.\d+-slim", named["FROM"])
    assert named["USER"] == "10001"
    assert "--uid 10001" in named["RUN"]
    assert yaml.safe_load(named["ENTRYPOINT"])[0] in PROJECT["scripts"]
    # Shell forms would not pass signals on.
    assert all(named[one].startswith("[") for one in ("ENTRYPOINT", "CMD"))


def test_the_service_of_the_compose_file_is_a_command_of_ours() -> None:
    command = SERVICE["command"]
    assert command[0] == "serve"
    words = [re.sub(r"\$\{\w+:-(.*?)\}", r"\1", word) for word in command[1:]]
    parsed = get_command(serve.app).make_context("serve", words).params
    assert parsed["folders"] == [Path("/videos")]
    assert (parsed["host"], parsed["backend"]) == ("0.0.0.0", "tensorrt")


def test_the_compose_file_gives_away_nothing() -> None:
    port = serve.ServeOptions().port
    assert SERVICE["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert SERVICE["read_only"] is True
    assert SERVICE["cap_drop"] == ["ALL"]
    assert SERVICE["security_opt"] == ["no-new-privileges:true"]
    assert all(one.endswith(":ro") or one.startswith("cache:") for one in SERVICE["volumes"])
    assert set(COMPOSE["volumes"]) == {"cache"}
    check = SERVICE["healthcheck"]["test"]
    assert check[0] == "CMD"
    compile(check[-1], "healthcheck", "exec")
    assert f":{port}/healthz" in check[-1]
