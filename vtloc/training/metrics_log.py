"""One JSON line an epoch, and the curves that they draw."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from vtloc.tensor_file import read_whole, write_whole
from vtloc_runtime.errors import MissingExtraError, OutputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_LOSSES = ("loss", "localization", "alignment", "diversity")


class MetricsJournal:
    """``metrics.jsonl``: one line an epoch, in order, without repeats after a resume.

    Args:
        path: The file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[dict[str, Any]]:
        """Every whole line, up to the first that is cut short or damaged."""
        if not self.path.exists():
            return []
        rows = []
        for line in read_whole(self.path, OutputError).split(b"\n"):
            try:
                row = msgspec.json.decode(line)
            except (msgspec.DecodeError, ValueError, RecursionError):
                break
            if not isinstance(row, dict) or not isinstance(row.get("epoch"), int):
                break
            rows.append(row)
        return rows

    def rewind(self, epochs: int) -> None:
        """Forget the epochs from number ``epochs`` on: they will be done again.

        Raises:
            OutputError: The file cannot be written.
        """
        kept = [row for row in self.read() if row["epoch"] < epochs]
        write_whole(self.path, "".join(json.dumps(row) + "\n" for row in kept).encode())

    def append(self, row: Mapping[str, Any]) -> None:
        """Add an epoch.

        Raises:
            OutputError: The file cannot be written.
        """
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(dict(row)) + "\n")
        except OSError as error:
            raise OutputError(f"cannot write: {error.strerror}", where=self.path) from error


def plot_curves(journal: MetricsJournal, picture: Path) -> None:
    """Draw losses and validation over the epochs.

    Args:
        journal: What to draw.
        picture: The PNG to write.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OutputError: The picture cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError.for_package(
            "matplotlib", extra="train", purpose="drawing curves"
        ) from error
    rows = journal.read()
    epochs = [row["epoch"] + 1 for row in rows]
    figure = Figure(figsize=(10, 4), layout="constrained")
    losses, scores = figure.subplots(1, 2)
    for name in _LOSSES:
        losses.plot(epochs, [row[name] for row in rows], label=name)
    losses.set(xlabel="epoch", ylabel="training loss", yscale="symlog")
    for name in ("mIoU", "R1@0.3", "R1@0.5", "R1@0.7"):
        scores.plot(epochs, [row["validation"][name] for row in rows], label=name)
    scores.set(xlabel="epoch", ylabel="validation, percent")
    for axes in (losses, scores):
        axes.legend()
        axes.grid(alpha=0.3)
    try:
        figure.savefig(picture, dpi=120)
    except OSError as error:
        raise OutputError(f"cannot write: {error.strerror}", where=picture) from error
