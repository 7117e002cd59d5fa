"""The command line of engine building."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from tests.support import tensorrt_double
from vtloc_export.cli.trt import parse_bytes, trt_command
from vtloc_runtime.errors import UsageError, VtlocError
from vtloc_runtime.networks.tensorrt.engine_choice import list_engines

app = typer.Typer()
app.command()(trt_command)


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, VtlocError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(autouse=True)
def gpu():
    with tensorrt_double.installed() as machine:
        yield machine


def test_it_builds_every_network_and_shows_what_it_built(bundle) -> None:
    output = run(bundle.path, "--target", "sm80")
    assert len(list_engines(bundle)) == 3
    for word in ("visual", "text", "localizer", "fp16"):
        assert word in output
    assert run(bundle.path, "--target", "sm80").count("found") == 3


def test_its_options_reach_the_engines(bundle) -> None:
    run(
        bundle.path,
        "--target=sm80",
        "--precision=fp32",
        "--network=localizer",
        "--batch=1:2:4",
        "--tokens=2:4:8",
        "--profile=frames=1:8:16",
        "--profile=frames=1:16:32,batch=1",
        "--workspace=1G",
        "--optimization-level=4",
    )
    (engine,) = list_engines(bundle)
    identity = json.loads(engine.sidecar_path.read_text())["identity"]
    assert identity["network"] == "localizer"
    assert identity["precision"] == "fp32"
    assert identity["settings"]["workspace"] == 2**30
    assert identity["settings"]["optimization_level"] == 4
    first, second = identity["profiles"]
    assert first["batch"] == {"min": 1, "opt": 2, "max": 4}
    assert second["batch"] == {"min": 1, "opt": 1, "max": 1}
    assert [profile["frames"]["max"] for profile in (first, second)] == [16, 32]
    assert first["tokens"] == second["tokens"] == {"min": 2, "opt": 4, "max": 8}


def test_networks_keep_their_order_however_they_are_named(bundle) -> None:
    run(bundle.path, "--network=text", "--network=visual")
    assert {engine.identity.network for engine in list_engines(bundle)} == {"visual", "text"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--backend=cuda"], "builds no engines"),
        (["--network=audio"], "the bundle has no network named audio"),
        (["--batch=9:1:2"], "not in order"),
        (["--workspace=lots"], "is not a size"),
        (["--tokens=1:8:99"], "at most 16 tokens"),
    ],
)
def test_what_cannot_be_meant_is_refused(bundle, arguments, message) -> None:
    with pytest.raises(UsageError, match=message):
        run(bundle.path, *arguments)
    assert list_engines(bundle) == ()


@pytest.mark.parametrize(
    ("text", "size"), [("7", 7), ("1K", 1024), ("512M", 2**29), ("4g", 2**32), ("4 GiB", 2**32)]
)
def test_sizes_read_as_people_write_them(text, size) -> None:
    assert parse_bytes(text) == size
