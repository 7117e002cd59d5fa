"""``vtloc``: features, training, evaluation, and the paper's tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from vtloc.cli.ablate import ablate
from vtloc.cli.evaluate import evaluate
from vtloc.cli.features import features
from vtloc.cli.train import train
from vtloc_runtime.cli.console.program import VersionOption, new_application, run_program

app = new_application()


@app.callback()
def program(version: VersionOption = False) -> None:
    """Train a model that finds moments in videos, and evaluate it.

    To find moments with a trained bundle, use vtloc-run.
    """


app.command()(features)
app.command()(train)
app.command(short_help="Score a checkpoint or a results file.")(evaluate)
app.command(short_help="Train every arm of an ablation, and print its table.")(ablate)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit code.

    Args:
        arguments: What follows the program's name; None reads it from the process.
    """
    run_program(
        app,
        "vtloc",
        arguments,
        extra="train",
        stopped="stopped; run the same command again to resume",
    )
