"""``vtloc-calibrate``: score probabilities, reference frames, samples, INT8, sensitivity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from vtloc_calibration.cli.int8 import int8
from vtloc_calibration.cli.reference import reference
from vtloc_calibration.cli.samples import samples
from vtloc_calibration.cli.scores import scores
from vtloc_calibration.cli.sensitivity import sensitivity
from vtloc_runtime.cli.console.program import VersionOption, new_application, run_program

app = new_application()


@app.callback()
def program(version: VersionOption = False) -> None:
    """Calibrate the scores of a bundle, and write its networks in INT8."""


for command, summary in (
    (scores, "Turn scores into probabilities."),
    (reference, 'Tell "no such moment" better, with frames of your videos.'),
    (samples, "Record inputs of the networks, from videos and sentences."),
    (sensitivity, "Measure the effect of lower precision in each module."),
    (int8, "Add the networks in INT8 to the bundle."),
):
    app.command(short_help=summary)(command)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit code.

    Args:
        arguments: What follows the program's name; None reads it from the process.
    """
    run_program(app, "vtloc-calibrate", arguments, extra="calibration")
