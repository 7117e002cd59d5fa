"""Reports: a page with the moments of each video, and plots of the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vtloc_runtime.lazy_names import lazy_names

if TYPE_CHECKING:
    from vtloc_runtime.report.model import Answer, Film, Frame, Live, Page, RunFacts, Span
    from vtloc_runtime.report.page import render_page, write_page

__all__ = [
    "Answer",
    "Film",
    "Frame",
    "Live",
    "Page",
    "RunFacts",
    "Span",
    "render_page",
    "write_page",
]

_HOMES = {
    **dict.fromkeys(
        ("Answer", "Film", "Frame", "Live", "Page", "RunFacts", "Span"),
        "vtloc_runtime.report.model",
    ),
    **dict.fromkeys(("render_page", "write_page"), "vtloc_runtime.report.page"),
}

# Hidden from type checkers, for which it would make every name valid.
if not TYPE_CHECKING:
    __getattr__ = lazy_names(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
