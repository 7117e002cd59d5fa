"""What ``vtloc-run search`` does: bring the index up to date, search it, and show what is found."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vtloc_runtime.batch.job_lists.jobs import (
    check_pictures,
    check_rewrites,
    input_files,
    read_videos,
)
from vtloc_runtime.batch.results.records import Record, encode_record
from vtloc_runtime.bundle.user_folder import bundle_for
from vtloc_runtime.cli.console.exit_codes import exit_code_of_failures
from vtloc_runtime.cli.console.interrupts import Interruption
from vtloc_runtime.cli.console.progress import RunProgress
from vtloc_runtime.cli.console.terminal import (
    print_note,
    print_ranking,
    sandbox_note,
    write_lines,
)
from vtloc_runtime.cli.output_writing import OutputSources, OutputWriter
from vtloc_runtime.errors import OutputError, UsageError
from vtloc_runtime.library.film_search import SearchOptions
from vtloc_runtime.library.search import Library
from vtloc_runtime.localize.limits import check_moments
from vtloc_runtime.localize.localizer import Localizer
from vtloc_runtime.localize.questions.question import Picture, Query
from vtloc_runtime.localize.questions.tokenizer import clean_query
from vtloc_runtime.report.evidence import Evidence, read_evidence
from vtloc_runtime.system.processors import available_processors
from vtloc_runtime.system.text import unicode_name
from vtloc_runtime.video.isolation.decoder_process import DecoderProcess

if TYPE_CHECKING:
    from pathlib import Path

    from vtloc_runtime.batch.workers.worker_pool import PipelineOptions
    from vtloc_runtime.bundle.bundle import Bundle
    from vtloc_runtime.cli.options import RunOptions
    from vtloc_runtime.cli.outputs import OutputOptions
    from vtloc_runtime.cli.search import SearchRequest
    from vtloc_runtime.localize.encoding.feature_cache import FeatureCache


def run_search(
    library: list[str], request: SearchRequest, outputs: OutputOptions, options: RunOptions
) -> int:
    """Search a library and show the films that are found.

    Args:
        library: Videos, folders, patterns and lists.
        request: What to search for.
        outputs: What to make of the answers.
        options: How to process the videos.

    Returns:
        The exit code.

    Raises:
        VtlocError: The search cannot begin, or its results cannot be written.
    """
    queries = _read_request(request, outputs)
    if options.ray is not None:
        raise UsageError(
            "a library is searched on one machine",
            remedy="Encode the films on the cluster first: vtloc-run encode LIBRARY --ray ADDRESS",
        )
    videos = read_videos(library, videos=options.videos_folder, notice=options.note)
    bundle = options.open_bundle()
    inputs = [*input_files(library), *videos, *(request.like or ())]
    most = min(len(videos), request.top * len(queries))
    outputs.check(films=most, inputs=inputs, bundle=bundle.path)
    pipeline = options.pipeline()
    if pipeline.cache is None:
        raise OutputError(
            "the feature cache has no folder", remedy="Set the environment variable VTLOC_CACHE"
        )
    with _open_localizer(bundle_for(bundle, options.backend), options, pipeline) as localizer:
        films = Library(
            library,
            localizer,
            pipeline.cache,
            pipeline=pipeline,
            listing=lambda: videos,
            notice=options.note,
        )
        run = _SearchRun(
            localizer, pipeline.cache, films, queries, request, outputs, options, inputs
        )
        return run.run()


def _read_request(request: SearchRequest, outputs: OutputOptions) -> list[Query]:
    """The questions; refuses invalid ones before anything is opened."""
    sentences, rewrites = request.query or [], tuple(request.rewrite or ())
    for sentence in (*sentences, *rewrites):
        clean_query(sentence)
    check_rewrites(sentences, rewrites)
    check_pictures(request.like or ())
    check_moments(request.moments)
    pictures = tuple(map(Picture, request.like or ()))
    queries: list[Query] = [(sentence, *rewrites, *pictures) for sentence in sentences]
    if pictures and not queries:
        queries = [pictures]
    if outputs.wanted and not queries:
        raise UsageError(
            "nothing is searched for, so there is nothing to write",
            remedy='Add a sentence with -q "sentence", or a picture with --like PATH',
        )
    return queries


def _open_localizer(bundle: Bundle, options: RunOptions, pipeline: PipelineOptions) -> Localizer:
    workers = pipeline.workers_for(available_processors())
    return Localizer.open(
        bundle,
        backend=options.backend,
        device=options.device,
        precision=options.precision,
        threads=options.threads or max(1, available_processors() // workers),
        batch=options.batch,
        reuse=options.frame_reuse,
        fps=options.fps,
        # Most films are in the index already.
        lazy=True,
    )


@dataclass(frozen=True, slots=True)
class _SearchRun:
    """One search: the library, and what to make of what is found."""

    localizer: Localizer
    cache: FeatureCache
    films: Library
    queries: list[Query]
    request: SearchRequest
    outputs: OutputOptions
    options: RunOptions
    inputs: list[str]

    def run(self) -> int:
        """Search, show the films, write the outputs, and return the exit code."""
        self._check_queries()
        interrupted = self._update()
        if interrupted is not None:
            return interrupted
        request, found = self.request, list[Record]()
        chosen = SearchOptions(request.top, request.moments, request.min_score, request.found_only)
        for records in self.films.search(self.queries, chosen):
            if not self.outputs.prints:
                _show(records, json=request.json)
            if self.outputs.wanted:
                found += records
        if self.outputs.wanted:
            for path in self._write(found):
                self.options.note(f"written to {path}")
        if not self.options.quiet:
            _summarize(self.films)
        failures = Counter(failure.kind for failure in self.films.failures.values())
        return exit_code_of_failures(failures, total=len(self.films.films))

    def _check_queries(self) -> None:
        """Refuse what cannot be asked, unreadable pictures too, before hours of encoding."""
        for query in self.queries:
            self.localizer.check_query(query)
        pictures = tuple(map(Picture, self.request.like or ()))
        if pictures:
            with DecoderProcess(self.options.decoder_limits) as decoder:
                self.localizer.encode_pictures(pictures, read=decoder.read)

    def _update(self) -> int | None:
        """Bring the index up to date; the exit code if a signal stopped that."""
        films, options = self.films, self.options
        shown = sys.stderr.isatty() and not options.quiet
        changes = films.changes()
        with (
            Interruption(graceful=True) as interruption,
            RunProgress(
                changes.changed,
                shown=shown and bool(changes.changed),
                limits=options.decoder_limits,
            ) as progress,
        ):
            films.update(
                changes,
                progress=progress.reached,
                done=progress.advance,
                stop=lambda: interruption.asked,
            )
        if interruption.asked and films.waiting:
            print_note(
                f"stopped: {len(films.waiting)} films are not indexed yet; run the "
                "same command again to resume"
            )
            return interruption.exit_code
        return None

    def _write(self, records: Sequence[Record]) -> list[Path]:
        """Write the page, and whatever else was asked for; films keep their order."""
        asked = self.request.query or [""]
        questions = {
            unicode_name(one): query for one, query in zip(asked, self.queries, strict=True)
        }
        with DecoderProcess(self.options.decoder_limits) as decoder:

            def explain(path: str, found: Sequence[Record]) -> Evidence:
                chosen = {record.asked: questions[record.query] for record in found}
                return read_evidence(self.localizer, path, chosen, self.cache, read=decoder.read)

            sources = OutputSources(
                inputs=[("a video, list or picture of this search", one) for one in self.inputs],
                bundle=self.localizer.bundle,
                explain=explain,
                limits=self.options.decoder_limits,
                paths={unicode_name(video): video for video in self.films.films},
            )
            return OutputWriter(self.outputs, sources, self.options.note).write(records)


def _show(records: list[Record], *, json: bool) -> None:
    if json or not sys.stdout.isatty():
        write_lines(b"".join(encode_record(record) for record in records))
    elif records:
        print_ranking(records)


def _summarize(films: Library) -> None:
    for video, failure in films.failures.items():
        advice = f". {failure.remedy}" if failure.remedy else ""
        print_note(f"{failure.kind} error: {video}: {failure.what}{advice}")
    readable = len(films.films) - len(films.failures)
    seconds = sum(film.duration for film in films.films.values())
    print_note(f"searched {readable} films, {seconds / 3600:.1f} hours{sandbox_note()}")
