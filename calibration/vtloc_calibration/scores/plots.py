"""Plots of calibration: reliability, rejection against keeping, sensitivity."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vtloc_calibration.report_files import AUTHOR, check_report_file
from vtloc_runtime.errors import MissingExtraError, OutputError

if TYPE_CHECKING:
    from vtloc_calibration.quantize.sensitivity import Study
    from vtloc_calibration.scores.reliability import ReliabilityBin
    from vtloc_calibration.scores.report import ScoreReport

_BEFORE, _AFTER, _QUIET, _ISLAND = "#b0b0b0", "#0b6e99", "#707070", "#c4572e"
_PANEL_WIDTH = 4.6
"""Inches."""


@contextmanager
def figure(path: Path, *, panels: int = 1, height: float = 4.2) -> Iterator[list[Any]]:
    """Axes side by side, saved when the block ends; no window, no global state.

    Args:
        path: Where to save; the suffix decides the format (``.svg``, ``.png``).
        panels: How many axes.
        height: Of all, inches.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OutputError: The file cannot be written, or another program's file is there.
    """
    check_report_file(path)
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError.for_package(
            "matplotlib", extra="calibration", purpose="a plot"
        ) from error
    drawing = Figure(figsize=(_PANEL_WIDTH * panels, height), layout="constrained")
    FigureCanvasAgg(drawing)
    axes = [drawing.add_subplot(1, panels, index + 1) for index in range(panels)]
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
        one.grid(color="#e6e6e6", linewidth=0.6)
        one.set_axisbelow(True)
    yield axes
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        drawing.savefig(path, dpi=144, metadata={"Creator": AUTHOR})
    except OSError as error:
        raise OutputError(f"cannot write the plot: {error.strerror}", where=path) from error


def plot_scores(report: ScoreReport, path: Path) -> None:
    """The reliability diagram, and the curve of rejection where sentences are absent.

    Args:
        report: What calibration found.
        path: Where to save.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OutputError: The file cannot be written.
    """
    with figure(path, panels=1 if report.curve is None else 2) as axes:
        _draw_reliability(axes[0], report)
        if report.curve is not None:
            _draw_rejection(axes[1], report)


def _draw_reliability(axes: Any, report: ScoreReport) -> None:
    axes.plot([0, 1], [0, 1], color=_QUIET, linewidth=0.8, linestyle=":")
    for bins, color, label in (
        (report.bins_before, _BEFORE, f"raw, error {report.error_before:.3f}"),
        (report.bins_after, _AFTER, f"{report.method}, error {report.error_after:.3f}"),
    ):
        _draw_bins(axes, bins, color=color, label=label)
    axes.set(
        xlim=(0, 1),
        ylim=(0, 1),
        xlabel="stated probability",
        ylabel=f"share right (IoU ≥ {report.iou:g})",
        title=f"{report.present} sentences, held-out videos",
    )
    axes.legend(frameon=False, loc="upper left")


def _draw_bins(axes: Any, bins: Sequence[ReliabilityBin], *, color: str, label: str) -> None:
    filled = [one for one in bins if one.count]
    largest = max(one.count for one in filled)
    stated, observed = [one.stated for one in filled], [one.observed for one in filled]
    axes.plot(stated, observed, color=color, linewidth=1.4, label=label)
    sizes = [12 + 60 * one.count / largest for one in filled]
    axes.scatter(stated, observed, s=sizes, color=color, zorder=3)


def _draw_rejection(axes: Any, report: ScoreReport) -> None:
    curve, held = report.curve, report.held_out
    if curve is None:
        return
    axes.plot(curve.kept, curve.rejected, color=_AFTER, linewidth=1.4)
    axes.plot([0, 1], [1, 0], color=_QUIET, linewidth=0.8, linestyle=":")
    if held is not None:
        axes.scatter([held.kept], [held.rejected], s=48, color=_AFTER, zorder=3)
        axes.annotate(
            f"keeps {held.kept:.0%}, rejects {held.rejected:.0%}",
            (held.kept, held.rejected),
            xytext=(-8, -16),
            textcoords="offset points",
            horizontalalignment="right",
        )
    axes.set(
        xlim=(0, 1.02),
        ylim=(0, 1.02),
        xlabel="present sentences kept",
        ylabel="absent sentences rejected",
        title=f"no such moment, area {curve.area:.3f}",
    )


def plot_sensitivity(studies: Sequence[Study], path: Path) -> None:
    """The effect of every module, alone and with all less sensitive ones, a panel a network.

    Args:
        studies: One for each network, of one precision.
        path: Where to save.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OutputError: The file cannot be written.
    """
    longest = max(len(study.ranked) for study in studies)
    with figure(path, panels=len(studies), height=max(3.0, 0.24 * longest + 1.4)) as axes:
        for one, study in zip(axes, studies, strict=True):
            _draw_sensitivity(one, study)


def _draw_sensitivity(axes: Any, study: Study) -> None:
    order = list(reversed(study.ranked))
    places = range(len(order))
    islands = set(study.choice.islands)
    # Half precision and INT8 are decades apart: a logarithm shows both, a floor shows zero.
    alone = [max(one.alone.relative_l2, 1e-7) for one in order]
    together = [max(one.together.relative_l2, 1e-7) for one in order]
    colors = [_ISLAND if one.module in islands else _AFTER for one in order]
    axes.barh(places, alone, color=colors, height=0.62)
    axes.plot(together, places, color=_QUIET, linewidth=1.0, marker="o", markersize=3)
    axes.axvline(study.bounds.tensors.relative_l2, color=_QUIET, linewidth=0.8, linestyle=":")
    axes.set_xscale("log")
    axes.set_yticks(list(places), [one.module for one in order], fontsize=7)
    axes.set(
        xlabel="relative L2 of the worst output",
        title=f"{study.network}, {study.precision}: {len(islands)} of {len(order)} spared",
    )
