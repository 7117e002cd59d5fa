"""Plots of an answer for papers: pictures, moments, similarity and alignment over time."""

from __future__ import annotations

import base64
import io
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from vtloc_runtime.errors import MissingExtraError
from vtloc_runtime.report.page import format_clock
from vtloc_runtime.system.text import plain

if TYPE_CHECKING:
    from vtloc_runtime.report.model import Answer, Film

_WIDTH = 7.0
_MARK = "#1a66cc"
_PICTURES = 8
_WORD_HEIGHT = 0.2
_LONGEST_WORD = 20


def plot_answer(film: Film, answer: Answer) -> bytes:
    """One answer as a PDF, as wide as a page of text.

    Args:
        film: The film, with its pictures.
        answer: One of its answers.

    Raises:
        MissingExtraError: Matplotlib is not installed.
    """
    try:
        # Not pyplot: it would look for a screen.
        from matplotlib.backends.backend_pdf import FigureCanvasPdf
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError.for_package(
            "matplotlib", extra="plot", purpose="A plot", cause=error
        ) from error
    heights = _heights(film, answer)
    figure = Figure(figsize=(_WIDTH, sum(heights.values()) + 0.9), layout="constrained")
    FigureCanvasPdf(figure)
    grid = figure.subplots(
        len(heights), 1, sharex=True, squeeze=False, height_ratios=list(heights.values())
    )
    panels = dict(zip(heights, grid[:, 0], strict=True))
    draw = {"film": _pictures, "moments": _moments, "similarity": _curve, "words": _words}
    for name, axes in panels.items():
        draw[name](axes, film, answer)
        axes.set_xlim(0, film.duration)
    last = grid[-1, 0]
    last.xaxis.set_major_formatter(lambda seconds, _: format_clock(seconds).removesuffix(".0"))
    last.set_xlabel("time", parse_math=False)
    figure.suptitle(f"“{plain(answer.query)}”", fontsize=10, parse_math=False)
    room = io.BytesIO()
    with warnings.catch_warnings():
        # A character that the font lacks becomes a box, which says enough.
        warnings.filterwarnings("ignore", message="Glyph")
        # No date: the same answer gives the same file.
        figure.savefig(room, format="pdf", metadata={"Creator": "vtloc", "CreationDate": None})
    return room.getvalue()


def _heights(film: Film, answer: Answer) -> dict[str, float]:
    """The panels that there is something for, and their heights, inches."""
    heights = {}
    if film.frames:
        heights["film"] = _WIDTH / _PICTURES
    heights["moments"] = 0.35
    if answer.curve is not None:
        heights["similarity"] = 1.2
    if answer.words:
        heights["words"] = _WORD_HEIGHT * len(answer.words) + 0.1
    return heights


def _pictures(axes: Any, film: Film, _: Answer) -> None:
    import matplotlib.image

    part = film.duration / _PICTURES
    for place in range(_PICTURES):
        middle = (place + 0.5) * part
        frame = min(film.frames, key=lambda one: abs(one.time - middle))
        content = io.BytesIO(base64.b64decode(film.images[frame.image]))
        picture = matplotlib.image.imread(content, format="jpeg")
        axes.imshow(picture, extent=(place * part, (place + 1) * part, 0, 1), aspect="auto")
    axes.set_ylim(0, 1)
    axes.axis("off")


def _moments(axes: Any, _: Film, answer: Answer) -> None:
    for rank, moment in enumerate(answer.moments, start=1):
        axes.broken_barh(
            [(moment.start, moment.end - moment.start)],
            (0, 1),
            facecolors=_MARK,
            alpha=1 if rank == 1 else 0.5,
        )
        middle = (moment.start + moment.end) / 2
        axes.text(middle, 0.5, f"{moment.score:.2f}", color="white", ha="center", va="center",
                  fontsize=7, clip_on=True)  # fmt: skip
    if not answer.moments:
        axes.text(0.5, 0.5, "no such moment", transform=axes.transAxes, ha="center", va="center",
                  fontsize=8)  # fmt: skip
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    axes.set_ylabel("moments", rotation=0, ha="right", va="center", fontsize=8)


def _curve(axes: Any, film: Film, answer: Answer) -> None:
    for moment in answer.moments:
        axes.axvspan(moment.start, moment.end, color=_MARK, alpha=0.15, linewidth=0)
    axes.plot(film.times, answer.curve, color=_MARK, linewidth=1)
    axes.set_ylabel("similarity", fontsize=8)
    axes.tick_params(labelsize=7)


def _words(axes: Any, film: Film, answer: Answer) -> None:
    weights = np.frombuffer(base64.b64decode(answer.weights), np.uint8)
    edges = [*film.times, max(film.duration, film.times[-1])]
    axes.pcolormesh(
        edges, np.arange(len(answer.words) + 1),
        weights.reshape(len(answer.words), len(film.times)), cmap="Blues", rasterized=True,
    )  # fmt: skip
    axes.set_yticks(np.arange(len(answer.words)) + 0.5)
    axes.set_yticklabels(
        [plain(word)[:_LONGEST_WORD] for word in answer.words], fontsize=7, parse_math=False
    )
    axes.invert_yaxis()
