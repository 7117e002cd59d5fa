"""Reports: a page with the moments of each video, and plots of the same."""

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
