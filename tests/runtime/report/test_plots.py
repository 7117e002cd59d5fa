"""Plots of answers: every kind of answer has one, whatever its sentence holds."""

from __future__ import annotations

import base64
import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from vtloc_runtime.report import Answer, Film, Span
from vtloc_runtime.report.filmstrip import read_filmstrip

pytest.importorskip("matplotlib", reason="needs the plot extra")

FILM = Film("film.mp4", duration=12.0, times=tuple(map(float, range(12))))
WHOLE = Answer(
    "green",
    (Span(4.0, 7.0, 0.9), Span(8.0, 9.0, 0.1)),
    curve=tuple(0.1 * step for step in range(12)),
    words=("green", "$x$"),
    weights=base64.b64encode(bytes(range(24))).decode(),
)


def plot(film: Film, answer: Answer) -> bytes:
    from vtloc_runtime.report.plots import plot_answer

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return plot_answer(film, answer)


def test_an_answer_with_everything_is_a_pdf(colour_video: Path) -> None:
    strip = read_filmstrip(colour_video, [1.0, 5.0, 9.0])
    film = replace(FILM, images=strip.images, frames=strip.frames)
    assert plot(film, WHOLE).startswith(b"%PDF")


@pytest.mark.parametrize(
    "answer",
    [
        Answer("nothing like it"),
        replace(WHOLE, words=(), weights=""),
        replace(WHOLE, curve=None),
        replace(WHOLE, query="$\\frac{", words=("$\\", "\u202e\x1b犬")),
        replace(WHOLE, query="", moments=()),
    ],
)
def test_an_answer_without_some_of_it_is_one_too(answer: Answer) -> None:
    assert plot(FILM, answer).startswith(b"%PDF")
