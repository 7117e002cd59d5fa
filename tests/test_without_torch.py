"""Every command of every program where PyTorch is not installed: it works, or names the extra."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.support.colours import write_colour_bundle
from vtloc_runtime.cli.main import COMMANDS as RUN_COMMANDS

PROGRAMS = {
    "vtloc": "vtloc.cli.main",
    "vtloc-run": "vtloc_runtime.cli.main",
    "vtloc-export": "vtloc_export.cli.main",
    "vtloc-calibrate": "vtloc_calibration.cli.main",
}

# Runs many command lines in one process, in which torch cannot be imported.
SCRIPT = """
import contextlib, importlib, io, json, sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "torchvision", "open_clip", "transformers", "timm"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NoTorch())
for module, words in json.loads(sys.stdin.read()):
    shown, said = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(said):
        try:
            importlib.import_module(module).main(words)
        except SystemExit as left:
            code = left.code
    for stream in (shown, said):
        stream.flush()
        stream.seek(0)
    print(json.dumps([code, shown.read(), said.read()]))
"""


@dataclass(frozen=True)
class Outcome:
    """How a command line ended."""

    code: int
    shown: str
    said: str


def commands(program: str) -> tuple[str, ...]:
    """The commands of a program; the empty one is a program's own."""
    if program == "vtloc-run":
        return ("", *RUN_COMMANDS)
    command: Any = typer.main.get_command(import_module(PROGRAMS[program]).app)
    return tuple(command.commands)


def call(lines: list[tuple[str, list[str]]], folder: Path) -> list[Outcome]:
    """Run command lines, each a program and its words, without torch."""
    request = json.dumps([(PROGRAMS[program], words) for program, words in lines])
    done = subprocess.run(
        [sys.executable, "-W", "error::ImportWarning", "-c", SCRIPT],
        input=request, capture_output=True, text=True, check=True, cwd=folder,
    )  # fmt: skip
    return [Outcome(*json.loads(line)) for line in done.stdout.splitlines()]


ALL = [(program, command) for program in PROGRAMS for command in commands(program)]


def test_every_help_is_shown(tmp_path: Path) -> None:
    lines = [(program, [*command.split(), "--help"]) for program, command in ALL]
    lines += [(program, ["--help"]) for program in PROGRAMS]
    for line, outcome in zip(lines, call(lines, tmp_path), strict=True):
        assert outcome.code == 0, (line, outcome)
        assert outcome.shown.startswith("Usage: "), line
        assert all(len(row) <= 80 for row in outcome.shown.splitlines()), line
        assert "─" not in outcome.shown, line


WORK = {
    ("vtloc", "features"): ["film.mp4", "--encoder", "efficientnet-lite0", "--out", "store"],
    ("vtloc", "train"): ["paper", "--train", "own.jsonl", "--validation", "own.jsonl",
                         "--frames", "store", "--tokens", "store", "--out", "run"],
    ("vtloc", "evaluate"): ["model.safetensors", "--annotations", "own.jsonl", "--frames", "store",
                            "--tokens", "store"],
    ("vtloc", "ablate"): ["components", "--train", "own.jsonl", "--validation", "own.jsonl",
                          "--frames", "store", "--tokens", "store", "--out", "run"],
    ("vtloc-run", ""): ["none.mp4", "-q", "a dog"],
    ("vtloc-run", "encode"): ["none.mp4"],
    ("vtloc-run", "search"): ["none.mp4", "-q", "a dog"],
    ("vtloc-run", "serve"): ["none"],
    ("vtloc-run", "mcp"): ["none"],
    ("vtloc-run", "doctor"): ["-b", "none"],
    ("vtloc-run", "bundles"): [],
    ("vtloc-run", "export"): ["none.jsonl"],
    ("vtloc-run", "bench"): ["none"],
    ("vtloc-export", "onnx"): ["bundle", "--out", "made"],
    ("vtloc-export", "trt"): ["none"],
    ("vtloc-export", "verify"): ["bundle"],
    ("vtloc-export", "models"): [],
    ("vtloc-calibrate", "scores"): ["none", "--answers", "answers.jsonl"],
    ("vtloc-calibrate", "reference"): ["none", "film.mp4"],
    ("vtloc-calibrate", "samples"): ["none", "--videos", ".", "--out", "x", "--queries", "q.txt"],
    ("vtloc-calibrate", "sensitivity"): ["bundle", "--samples", "samples.safetensors"],
    ("vtloc-calibrate", "int8"): ["bundle", "--samples", "samples.safetensors"],
}  # fmt: skip
"""Real work for each command, as far as a folder of small files allows."""

NEEDS_TORCH = {
    ("vtloc", "features"), ("vtloc", "train"), ("vtloc", "evaluate"), ("vtloc", "ablate"),
    ("vtloc-export", "onnx"), ("vtloc-export", "verify"),
}  # fmt: skip


def test_work_that_needs_torch_names_the_extra_on_one_line(tmp_path: Path) -> None:
    assert set(WORK) == set(ALL), "a new command needs a line in WORK"
    (tmp_path / "film.mp4").write_bytes(b"no film")
    write_colour_bundle(tmp_path / "bundle")
    (tmp_path / "store").mkdir()
    (tmp_path / "own.jsonl").write_text(OWN)
    lines = [(program, [*command.split(), *words]) for (program, command), words in WORK.items()]
    for (program, command), outcome in zip(WORK, call(lines, tmp_path), strict=True):
        assert outcome.code not in {1, 70}, (program, command, outcome)
        assert "Traceback" not in outcome.said, (program, command)
        if (program, command) in NEEDS_TORCH:
            assert outcome.code == 17, (program, command, outcome)
            (line,) = outcome.said.splitlines()
            assert line.startswith(f"{program}: missing-extra error: ")
            extra = {"vtloc": "train", "vtloc-export": "export"}[program]
            assert f"[{extra}]" in line, line


OWN = '{"id": 1, "video": "film", "duration": 10, "query": "a dog", "moments": [[2, 6]]}\n'


def test_results_are_scored_without_torch(tmp_path: Path) -> None:
    (tmp_path / "own.jsonl").write_text(OWN)
    record = {
        "id": "a", "video": "film.mp4", "query": "a dog", "backend": "onnxruntime:cpu",
        "duration": 10.0, "timings": {}, "warnings": [],
        "moments": [{"start": 2.0, "end": 6.0, "score": 0.9}],
    }  # fmt: skip
    (tmp_path / "results.jsonl").write_text(json.dumps(record) + "\n")
    (outcome,) = call(
        [("vtloc", ["evaluate", "results.jsonl", "--annotations", "own.jsonl"])], tmp_path
    )
    assert outcome.code == 0, outcome
    assert "100.00" in outcome.shown


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_has_a_version_and_says_what_it_does(program: str, tmp_path: Path) -> None:
    from vtloc_runtime import __version__

    version, nothing, unknown = call(
        [(program, ["--version"]), (program, []), (program, ["--bogus"])], tmp_path
    )
    assert (version.code, version.shown) == (0, f"{program} {__version__}\n")
    assert nothing.code == 2
    assert nothing.shown.startswith(f"Usage: {program} ")
    assert unknown.code == 2
    assert (
        unknown.said == f"{program}: usage error: No such option: --bogus. See {program} --help\n"
    )


def test_a_video_given_to_the_wrong_program_is_pointed_to_the_right_one(tmp_path: Path) -> None:
    for program in ("vtloc", "vtloc-export", "vtloc-calibrate"):
        (outcome,) = call([(program, ["boat.mp4", "-q", "a boat"])], tmp_path)
        assert outcome.code == 2
        assert "unknown command 'boat.mp4'" in outcome.said
        assert "vtloc-run" in outcome.said
