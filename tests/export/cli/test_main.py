"""``vtloc-export``: one line for what goes wrong, and an exit code that says which."""

from __future__ import annotations

import pytest

from vtloc.errors import CheckpointError
from vtloc_export.cli.main import main
from vtloc_export.cli.onnx import parse_precisions
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.errors import BundleError, OutputError, UsageError


def leave(arguments):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    return left.value.code


def test_onnx_makes_a_bundle_and_prints_its_table(checkpoint, tmp_path, capsys):
    out = tmp_path / "bundle"
    code = leave(["onnx", str(checkpoint), "--out", str(out), "--precision", "fp32", "--no-lint",
                  "--name", "tiny", "--fps", "4"])  # fmt: skip
    assert code == 0
    manifest = Bundle.open(out).manifest
    assert (manifest.name, manifest.frames_per_second) == ("tiny", 4.0)
    table = capsys.readouterr().out
    assert all(network in table for network in ("visual", "text", "localizer"))


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["onnx", "none.safetensors", "--out", "OUT"], CheckpointError),
        (["onnx", "none.safetensors", "--out", "FILE"], OutputError),
        (["onnx", "none.safetensors", "--out", "OUT", "--precision", "fp8"], UsageError),
        (["onnx", "none.safetensors", "--out", "OUT", "--precision", ","], UsageError),
        (["onnx", "none.safetensors", "--out", "OUT", "--fps", "-1"], UsageError),
        (["onnx", "none.safetensors"], UsageError),
        (["verify", "none"], BundleError),
        (["unknown"], UsageError),
    ],
)
def test_what_goes_wrong_is_one_line_and_a_code(arguments, error, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    places = {"OUT": str(tmp_path / "out"), "FILE": str(tmp_path / "file")}
    assert leave([places.get(word, word) for word in arguments]) == error.exit_code
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if line.startswith("vtloc-export: ")] == lines[-1:]
    assert not (tmp_path / "out").exists()


def test_precisions_come_in_one_order():
    assert parse_precisions("compact, fp32") == ("fp32", "compact")


def test_help_names_every_command(capsys):
    assert leave(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(command in printed for command in ("onnx", "trt", "verify"))
