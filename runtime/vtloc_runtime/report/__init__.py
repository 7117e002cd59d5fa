"""Reports: a page with the moments of each video."""

from vtloc_runtime.report.filmstrip import Thumbnail, read_filmstrip
from vtloc_runtime.report.page import VideoAnswers, write_page

__all__ = ["Thumbnail", "VideoAnswers", "read_filmstrip", "write_page"]
