"""``vtloc-export``: checkpoints to bundles, bundles to engines, and checks of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from vtloc_export.cli.models import models_command
from vtloc_export.cli.onnx import onnx_command
from vtloc_export.cli.trt import trt_command
from vtloc_export.cli.verify import verify_command
from vtloc_runtime.cli.console.program import VersionOption, new_application, run_program

app = new_application()


@app.callback()
def program(version: VersionOption = False) -> None:
    """Turn a checkpoint or public encoders into a bundle, then into engines; verify all of it."""


app.command("onnx", short_help="Export a localizer, or encoders alone, to ONNX.")(onnx_command)
app.command("models")(models_command)
app.command("trt")(trt_command)
app.command("verify", short_help="Compare all of a bundle with its PyTorch model.")(verify_command)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit code.

    Args:
        arguments: What follows the program's name; None reads it from the process.
    """
    run_program(app, "vtloc-export", arguments, extra="export")
