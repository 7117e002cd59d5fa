"""What the command line says of decoders: their limits and their sandbox."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from vtloc_runtime.cli.doctor import app as doctor
from vtloc_runtime.cli.main import main
from vtloc_runtime.video.isolation import launch, sandbox_report
from vtloc_runtime.video.isolation.decoder_process import DecoderProcess

MAIN = "from vtloc_runtime.video.isolation.decoder_child import main\n"


@pytest.fixture(autouse=True)
def first_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this process had started none."""
    monkeypatch.setattr(sandbox_report, "_seen", [])


@pytest.fixture
def no_landlock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoders of a kernel without Landlock."""
    without = (
        "import vtloc_runtime.video.isolation.sandbox as sandbox\n"
        "sandbox.deny_all = lambda: (0, 'the kernel has none')\n"
    )
    monkeypatch.setattr(launch, "_BOOT", launch._BOOT.replace(MAIN, without + MAIN))


def run(video: Path, bundle: Path, *options: str, command: str = "") -> SimpleNamespace:
    sentence = [] if command else ["-q", "red"]
    words = [*command.split(), str(video), *sentence, "--bundle", str(bundle), *options]
    output = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with redirect_stdout(output), redirect_stderr(output), pytest.raises(SystemExit) as left:
        main(words)
    output.seek(0)
    return SimpleNamespace(exit_code=left.value.code, output=output.read())


def test_the_closing_line_says_which_sandbox_held(
    colour_video: Path, colour_bundle: Path, tmp_path: Path
) -> None:
    complete = launch_report().complete
    sandbox_report._seen.clear()
    result = run(colour_video, colour_bundle, "--out", str(tmp_path / "o.jsonl"))
    assert result.exit_code == 0
    assert ("; decoded in a complete sandbox" in result.output) == complete
    sandbox_report._seen.clear()
    # From the cache nothing is decoded.
    again = run(colour_video, colour_bundle, "--out", str(tmp_path / "p.jsonl"))
    assert "sandbox" not in again.output


def launch_report() -> Any:
    with DecoderProcess() as decoder:
        return decoder.start()


def test_a_layer_that_is_missing_is_named(
    colour_video: Path, colour_bundle: Path, no_landlock: None
) -> None:
    result = run(colour_video, colour_bundle, command="encode")
    assert result.exit_code == 0
    assert "; decoded in a sandbox without landlock" in result.output
    found = msgspec.json.decode(
        CliRunner().invoke(doctor, ["--json", "--bundle", str(colour_bundle)]).stdout
    )
    (finding,) = [one for one in found["findings"] if one["subject"] == "decoder sandbox"]
    assert finding["state"] == "absent"
    assert "landlock (the kernel has none)" in finding["detail"]


@pytest.mark.parametrize("command", ["", "encode"])
def test_a_sandbox_that_is_required_is_looked_for_before_any_work(
    command: str, colour_video: Path, colour_bundle: Path, no_landlock: None
) -> None:
    result = run(colour_video, colour_bundle, "--require-sandbox", command=command)
    assert result.exit_code == 6
    assert "landlock (the kernel has none)" in result.output


def test_a_sandbox_that_is_required_and_there_is_no_obstacle(
    colour_video: Path, colour_bundle: Path
) -> None:
    if not launch_report().complete:
        pytest.skip("the kernel lacks a layer")
    assert run(colour_video, colour_bundle, "--require-sandbox", "--no-cache").exit_code == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--max-duration", "5"), "lasts longer than 5 s"),
        (("--video-timeout", "0.1"), "takes more than 0.1 s"),
    ],
)
def test_a_video_beyond_a_limit_is_its_own_failure(
    options: tuple[str, ...], message: str, colour_video: Path, colour_bundle: Path
) -> None:
    result = run(colour_video, colour_bundle, "--no-cache", *options)
    assert result.exit_code == 3
    assert message in result.output
    assert options[0] in result.output
