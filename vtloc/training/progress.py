"""Training on a terminal: a bar for the epoch, a line for each that is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from vtloc.training.loop import TrainingListener

if TYPE_CHECKING:
    from rich.console import Console

    from vtloc.training.loop import EpochReport


class ProgressDisplay(TrainingListener):
    """Shows steps as a bar and epochs as lines; a context manager.

    Args:
        console: Where to show; a console that is not a terminal gets the lines alone.
    """

    def __init__(self, console: Console) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._console = console
        self._task = self._bar.add_task("epoch 1", total=None, loss="…")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def stepped(self, epoch: int, step: int, steps: int, loss: float) -> None:
        """Move the bar."""
        self._bar.update(
            self._task,
            description=f"epoch {epoch + 1}",
            completed=step,
            total=steps,
            loss=f"{loss:.3f}",
        )

    def finished_epoch(self, report: EpochReport) -> None:
        """Print a line."""
        recall = report.validation.recall
        self._console.print(
            f"epoch {report.epoch + 1:3d}  loss {report.losses['loss']:7.4f}  "
            f"mIoU {report.validation.mean_iou:5.2f}  R1@0.5 {recall[1, 0.5]:5.2f}  "
            f"R1@0.7 {recall[1, 0.7]:5.2f}  {report.seconds:6.1f} s"
            f"{'  best' if report.best else ''}",
            highlight=False,
        )
