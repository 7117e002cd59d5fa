"""Where a run's outputs go: their options, and what refuses a place before any work is done."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vtloc_runtime.batch.results.results_beginning import holds_results
from vtloc_runtime.errors import MissingExtraError, OutputError, UsageError
from vtloc_runtime.handover.file_names import CLIP_FIELDS, CLIP_TEMPLATE, check_template
from vtloc_runtime.handover.folder import OutputFolder
from vtloc_runtime.handover.formats import FORMATS, Format, find_format
from vtloc_runtime.report.page import is_page
from vtloc_runtime.system.output_check import check_distinct, check_output

if TYPE_CHECKING:
    from vtloc_runtime.handover.timecode import FrameRate

STANDARD_STREAM = Path("-")
"""Stands for standard input or standard output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputOptions:
    """What to make of the answers."""

    report: Annotated[
        Path | None,
        typer.Option(help="Write a page that shows and plays the moments, HTML."),
    ] = None
    embed: Annotated[
        bool,
        typer.Option("--embed", help="Put films of up to 16 MiB, 64 MiB in all, into the page."),
    ] = False
    plot: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write a plot of each answer to this folder, PDF."),
    ] = None
    clips: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Cut each moment out of its film, into this folder. Clips are copied, so they "
            "begin at the keyframe before the moment.",
        ),
    ] = None
    exact_clips: Annotated[
        bool,
        typer.Option(
            "--exact-clips", help="Encode clips again, so that they begin and end exactly."
        ),
    ] = False
    clip_name: Annotated[
        str,
        typer.Option(
            metavar="TEMPLATE",
            help="Names of clips. Fields: "
            + ", ".join(f"{{{field}}}" for field in CLIP_FIELDS)
            + ".",
        ),
    ] = CLIP_TEMPLATE
    format: Annotated[
        str | None,
        typer.Option(metavar="FORMAT", help=f"Write the moments as {', '.join(FORMATS)}."),
    ] = None
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Where --format goes: a file, or a folder for formats that describe one film. "
            "Default: standard output.",
        ),
    ] = None
    rate: Annotated[
        str | None,
        typer.Option(
            metavar="FPS",
            help="Frame rate of edl, otio and fcpxml, such as 29.97. Default: the films' own.",
        ),
    ] = None

    @property
    def wanted(self) -> bool:
        """Whether anything is to be made of the answers once all are there."""
        return any((self.report, self.plot, self.clips, self.format))

    @property
    def prints(self) -> bool:
        """Whether standard output is taken by something other than the answers themselves."""
        return (self.format is not None and self.to in (None, STANDARD_STREAM)) or (
            self.report == STANDARD_STREAM
        )

    @property
    def form(self) -> Format | None:
        """The format that was asked for.

        Raises:
            UsageError: It is unknown.
        """
        return None if self.format is None else find_format(self.format)

    @property
    def frame_rate(self) -> FrameRate | None:
        """The frame rate that was asked for.

        Raises:
            UsageError: It is not a rate.
        """
        from vtloc_runtime.handover.timecode import FrameRate

        return None if self.rate is None else FrameRate.parse(self.rate)

    @property
    def to_folder(self) -> bool:
        """Whether --to names a folder, for one file a film."""
        form, to = self.form, self.to
        if form is None or not form.one_film or to is None or to == STANDARD_STREAM:
            return False
        return os.path.isdir(to) or not to.suffix

    def check(
        self,
        *,
        films: int,
        out: Path | None = None,
        inputs: Iterable[str] = (),
        bundle: Path | None = None,
    ) -> None:
        """Refuse outputs that would replace an input, each other, or a file of somebody else.

        Args:
            films: Number of films.
            out: The results file.
            inputs: Videos and lists.
            bundle: The bundle's folder.

        Raises:
            UsageError: The options contradict each other.
            OutputError: An output would replace something, or cannot be written.
            MissingExtraError: A package is not installed.
        """
        self._check_options(films)
        named = [("--out", out), ("--report", self.report), ("--plot", self.plot),
                 ("--clips", self.clips), ("--to", self.to)]  # fmt: skip
        files = [(name, None if path == STANDARD_STREAM else path) for name, path in named]
        check_distinct(files)
        read = [] if bundle is None else [("the bundle", str(bundle))]
        read += [("a video or list of this run", one) for one in inputs]
        if out is not None and out != STANDARD_STREAM:
            check_output(out, inputs=read, ours=holds_results)
        if self.report is not None and self.report != STANDARD_STREAM:
            check_output(self.report, inputs=read, ours=is_page)
            check_place(self.report, "the report")
        for folder in (self.plot, self.clips):
            if folder is not None:
                OutputFolder(folder, read)
        if self.plot is not None:
            _check_package("matplotlib", "plot", "A plot")
        form = self.form
        if form is not None and self.to is not None and self.to != STANDARD_STREAM:
            if self.to_folder:
                OutputFolder(self.to, read)
            else:
                check_output(self.to, inputs=read, ours=form.ours)
                check_place(self.to, "the file")
        if self.format == "otio":
            _check_package("opentimelineio", "editing", "An OpenTimelineIO file")

    def _check_options(self, films: int) -> None:
        if self.embed and self.report is None:
            raise UsageError("--embed needs --report")
        if self.exact_clips and self.clips is None:
            raise UsageError("--exact-clips needs --clips")
        if self.to is not None and self.format is None:
            raise UsageError("--to needs --format")
        if self.rate is not None and (self.form is None or self.form.of_cuts is None):
            raise UsageError("--rate is for --format edl, otio and fcpxml")
        if self.report == STANDARD_STREAM and self.format and self.to in (None, STANDARD_STREAM):
            raise UsageError("the page and the moments cannot both go to standard output")
        check_template(self.clip_name, CLIP_FIELDS)
        _ = self.frame_rate
        if self.form is not None and self.form.one_film and films > 1 and not self.to_folder:
            raise UsageError(
                f"{self.format} describes one film, and there are {films}",
                remedy="Name a folder with --to, for one file a film",
            )


def check_place(path: Path, what: str) -> None:
    """Refuse a file that cannot be written where it is wanted.

    Args:
        path: The file.
        what: What messages call it.

    Raises:
        OutputError: It is not a regular file, or its folder cannot be written to.
    """
    parent = path.absolute().parent
    while not os.path.lexists(parent):
        parent = parent.parent
    special = os.path.exists(path) and not os.path.isfile(path)
    if special or not os.path.isdir(parent) or not os.access(parent, os.W_OK):
        raise OutputError(f"{what} cannot be written to this place", where=path)


def _check_package(package: str, extra: str, purpose: str) -> None:
    from importlib.util import find_spec

    if find_spec(package) is None:
        raise MissingExtraError.for_package(package, extra=extra, purpose=purpose)
