"""Makes what was asked for of a run's records: page, plots, clips, and files for other programs."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from vtloc_runtime import __version__
from vtloc_runtime.cli.console.terminal import PROGRAM, print_note, write_lines
from vtloc_runtime.cli.outputs import STANDARD_STREAM, OutputOptions
from vtloc_runtime.errors import OutputError, VideoError
from vtloc_runtime.handover.clips import cut_clips, plan_clips
from vtloc_runtime.handover.file_names import unique_names
from vtloc_runtime.handover.folder import OutputFolder
from vtloc_runtime.handover.formats import group_by_film, write_documents
from vtloc_runtime.report.films import CarriedFilms, Explain, build_films
from vtloc_runtime.report.model import Film, Page, RunFacts
from vtloc_runtime.report.page import render_page, write_page
from vtloc_runtime.system.atomic_write import atomic_write
from vtloc_runtime.video.isolation.decoder_process import DecoderProcess

if TYPE_CHECKING:
    from vtloc_runtime.batch.results.records import Record
    from vtloc_runtime.bundle.bundle import Bundle
    from vtloc_runtime.video.film_facts import FilmFacts
    from vtloc_runtime.video.isolation.limits import DecoderLimits


@dataclass(frozen=True, slots=True)
class OutputSources:
    """What the outputs are made from, beside the records.

    Attributes:
        inputs: What each input of the run is, and its path.
        bundle: The bundle that answered; None where it is not known.
        explain: Gives the evidence of a video's sentences; None gives none.
        limits: Limits of the decoder process that reads films again.
        paths: The path of a video by its name in the records, where the two differ.
    """

    inputs: Sequence[tuple[str, str]] = ()
    bundle: Bundle | None = None
    explain: Explain | None = None
    limits: DecoderLimits | None = None
    paths: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OutputWriter:
    """Writes the outputs of one run.

    Attributes:
        options: What was asked for.
        sources: What it is made from.
        note: Called with a line for people.
    """

    options: OutputOptions
    sources: OutputSources
    note: Callable[[str], None]

    def write(self, records: Sequence[Record]) -> list[Path]:
        """Write everything that was asked for.

        Args:
            records: The records, in the order of the outputs.

        Returns:
            Where it was written, for people.

        Raises:
            VtlocError: Something cannot be written.
        """
        options = self.options
        written: list[Path | None] = []
        if options.format is not None:
            written.append(self._hand_over(records))
        if options.report is not None or options.plot is not None:
            carried = CarriedFilms() if options.embed else None
            films = self._films(records, carried)
            if options.report is not None:
                written.append(self._write_page(options.report, records, films, carried))
            if options.plot is not None:
                written.append(self._write_plots(options.plot, films))
        if options.clips is not None:
            written.append(self._cut(options.clips, records))
        return [path for path in written if path is not None]

    def _films(self, records: Sequence[Record], carried: CarriedFilms | None) -> tuple[Film, ...]:
        report = self.options.report
        folder = Path() if report in (None, STANDARD_STREAM) else report.parent
        return build_films(
            records,
            folder=folder,
            paths=self.sources.paths,
            explain=self.sources.explain,
            carried=carried,
            limits=self.sources.limits,
        )

    def _write_page(
        self,
        path: Path,
        records: Sequence[Record],
        films: tuple[Film, ...],
        carried: CarriedFilms | None,
    ) -> Path | None:
        bundle = self.sources.bundle
        facts = RunFacts(
            version=__version__,
            bundle="" if bundle is None else bundle.manifest.name,
            digest="" if bundle is None else bundle.digest,
            backend=", ".join(dict.fromkeys(one.backend for one in records if one.backend)),
            command=shlex.join([PROGRAM, *sys.argv[1:]]),
            written=datetime.now().astimezone().isoformat(" ", "seconds"),
        )
        page = Page(films=films, run=facts)
        content = carried.films if carried is not None else {}
        if path == STANDARD_STREAM:
            write_lines(render_page(page, content))
            return None
        return write_page(path, page, content)

    def _write_plots(self, path: Path, films: Sequence[Film]) -> Path:
        from vtloc_runtime.report.plots import plot_answer

        folder = OutputFolder(path, self.sources.inputs)
        answers = [
            (film, answer)
            for film in films
            for answer in film.answers
            if film.duration > 0 and not answer.error
        ]
        names = unique_names(f"{Path(film.name).stem}-{one.query}" for film, one in answers)
        for name, (film, answer) in zip(names, answers, strict=True):
            folder.write(f"{name}.pdf", plot_answer(film, answer))
        return path

    def _cut(self, path: Path, records: Sequence[Record]) -> Path:
        folder = OutputFolder(path, self.sources.inputs)
        options = self.options
        jobs = plan_clips(
            records,
            template=options.clip_name,
            exact=options.exact_clips,
            paths=self.sources.paths,
        )
        failed = 0
        with DecoderProcess(self.sources.limits) as decoder:
            for outcome in cut_clips(jobs, folder, decoder):
                if outcome.error is not None:
                    failed += 1
                    print_note(f"clip {outcome.job.name}: {outcome.error}")
        self.note(f"{len(jobs) - failed} of {len(jobs)} clips were cut")
        if jobs and failed == len(jobs):
            raise OutputError("no clip could be cut", where=path)
        return path

    def _hand_over(self, records: Sequence[Record]) -> Path | None:
        options, form = self.options, self.options.form
        if form is None:
            return None
        if form.of_cuts is not None and not any(record.moments for record in records):
            self.note(f"no moment was found, so no {options.format} was written")
            return None
        facts = self._facts(records) if form.of_cuts is not None else {}
        to = options.to or STANDARD_STREAM
        if options.to_folder:
            folder = OutputFolder(to, self.sources.inputs)
            for name, content in write_documents(form, records).items():
                folder.write(name, content)
            return to
        documents = write_documents(form, records, facts=facts, rate=options.frame_rate)
        content = next(iter(documents.values()), b"")
        if to == STANDARD_STREAM:
            write_lines(content)
            return None
        try:
            to.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(to) as file:
                file.write(content)
        except OSError as error:
            raise OutputError(f"cannot be written: {error.strerror}", where=to) from error
        return to

    def _facts(self, records: Sequence[Record]) -> dict[str, FilmFacts]:
        """What can be known of the films with moments."""
        facts = {}
        with DecoderProcess(self.sources.limits) as decoder:
            for video in group_by_film(record for record in records if record.moments):
                with suppress(VideoError):
                    facts[video] = decoder.describe(self.sources.paths.get(video, video))
        return facts
