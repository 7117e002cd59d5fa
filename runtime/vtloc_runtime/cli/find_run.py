"""What ``vtloc-run VIDEO... -q "sentence"`` does: answer what is not answered yet, and show it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import msgspec

from vtloc_runtime.batch.answer import AnswerVideos
from vtloc_runtime.batch.job_lists.job_files import read_sentences
from vtloc_runtime.batch.job_lists.jobs import (
    Job,
    VideoJobs,
    group_by_video,
    input_files,
    read_jobs,
)
from vtloc_runtime.batch.results.fingerprint import run_fingerprint
from vtloc_runtime.batch.results.records import Record, encode_record
from vtloc_runtime.batch.results.results_file import ResultsFile
from vtloc_runtime.batch.results.resume import take_done
from vtloc_runtime.batch.results.tally import RunTally
from vtloc_runtime.batch.workers.lost_backend import end_on_lost_backend
from vtloc_runtime.bundle.user_folder import bundle_for
from vtloc_runtime.cli.console.exit_codes import exit_code_of_failures
from vtloc_runtime.cli.console.interrupts import Interruption, Stopped
from vtloc_runtime.cli.console.progress import RunProgress
from vtloc_runtime.cli.console.standard_input import StandardInput
from vtloc_runtime.cli.console.terminal import (
    print_failures,
    print_note,
    print_records,
    sandbox_note,
    write_lines,
)
from vtloc_runtime.cli.outputs import STANDARD_STREAM, OutputOptions
from vtloc_runtime.errors import UsageError
from vtloc_runtime.localize.localizer import Localizer
from vtloc_runtime.localize.questions.picture_encoder import check_shared
from vtloc_runtime.localize.questions.tokenizer import clean_query
from vtloc_runtime.networks.load import Placement
from vtloc_runtime.system.text import unicode_name

if TYPE_CHECKING:
    from pathlib import Path

    from vtloc_runtime.batch.results.records import Failure
    from vtloc_runtime.bundle.bundle import Bundle
    from vtloc_runtime.cli.find import FindOptions
    from vtloc_runtime.cli.options import RunOptions
    from vtloc_runtime.localize.encoding.feature_cache import FeatureCache
    from vtloc_runtime.report.evidence import Evidence
    from vtloc_runtime.report.films import Explain


def run_find(
    videos: list[str], options: FindOptions, outputs: OutputOptions, run_options: RunOptions
) -> int:
    """Find sentences in videos and show the answers.

    Args:
        videos: Videos, folders, patterns and lists.
        options: What to search for.
        outputs: What to make of the answers.
        run_options: How to process the videos.

    Returns:
        The exit code.

    Raises:
        VtlocError: The work cannot begin, or its results cannot be written.
    """
    options = _checked(options, outputs)
    with StandardInput() as standard_input:
        queries = list(options.query or [])
        if options.queries is not None:
            queries += read_sentences(standard_input.replace(options.queries, kind="sentences"))
        for sentence in (*queries, *(options.rewrite or ())):
            clean_query(sentence)
        given = [standard_input.replace_word(word) for word in videos]
        jobs = read_jobs(
            given,
            queries,
            rewrites=options.rewrite or (),
            like=options.like or (),
            videos=run_options.videos_folder,
            notice=run_options.note,
            names=standard_input.names,
        )
        bundle = run_options.open_bundle()
        pictures = dict.fromkeys(path for job in jobs for path in job.like)
        if pictures:
            check_shared(bundle.manifest.shared_space)
        inputs = [*input_files(given), *dict.fromkeys(job.video for job in jobs), *pictures]
        if options.queries is not None:
            inputs.append(str(options.queries))
        films = len({job.video for job in jobs})
        outputs.check(films=films, out=options.out, inputs=inputs, bundle=bundle.path)
        bundle = bundle_for(bundle, run_options.backend)
        if options.always_answer:
            bundle = bundle.always_answering()
        named = [("a video or list of this run", one) for one in inputs]
        find_run = _FindRun(
            bundle, jobs, options, outputs, run_options, standard_input.names, named
        )
        try:
            return find_run.run()
        except Stopped as interrupt:
            print_note("stopped")
            return interrupt.exit_code


def _checked(options: FindOptions, outputs: OutputOptions) -> FindOptions:
    """The options, ``--out -`` written out; refuses what contradicts itself."""
    if options.out is None and (options.overwrite or options.retry_failed or options.repair):
        raise UsageError("--overwrite, --retry-failed and --repair need --out")
    if options.out != STANDARD_STREAM:
        return options
    if outputs.prints:
        raise UsageError("two outputs cannot both go to standard output")
    return replace(options, out=None, json=True)


@dataclass
class _FindRun:
    """One run: the jobs, and the records so far, with those of earlier runs."""

    bundle: Bundle
    jobs: list[Job]
    options: FindOptions
    outputs: OutputOptions
    run_options: RunOptions
    names: Mapping[str, str]
    """What records call videos whose path says nothing."""
    inputs: list[tuple[str, str]]
    tally: RunTally = field(default_factory=RunTally)
    records: list[Record] = field(default_factory=list)
    """All records, if more is to be made of them."""

    def run(self) -> int:
        """Answer the jobs, write the report, and return the exit code."""
        run_options = self.run_options
        placement = Placement.choose(
            self.bundle,
            backend=run_options.backend,
            device=run_options.device,
            precision=run_options.precision,
        )
        fingerprint = run_fingerprint(
            self.bundle,
            placement,
            decoding=self.options.decoding,
            moments=self.options.moments,
            fine=self.options.fine,
            reuse=run_options.frame_reuse,
            quick=self.options.quick,
        )
        with ExitStack() as stack:
            cache = self._open_cache(stack)
            with _results_file(self.options, fingerprint) as results:
                interrupted = self._answer(results, fingerprint, cache)
            written = self._write_outputs(cache) if self.outputs.wanted else []
        self._summarize(written, stopped=interrupted is not None)
        if interrupted is not None:
            return interrupted
        return exit_code_of_failures(self.tally.failures, total=self.tally.records)

    @property
    def _explains(self) -> bool:
        """Whether the encoded videos are needed again after the run."""
        return self.outputs.report is not None or self.outputs.plot is not None

    @property
    def _tables(self) -> bool:
        """Whether people see tables on standard output."""
        return sys.stdout.isatty() and not self.options.json and not self.outputs.prints

    def _open_cache(self, stack: ExitStack) -> FeatureCache | None:
        """The cache of the run; for a page without one, a cache that is removed afterwards."""
        from vtloc_runtime.localize.encoding.feature_cache import FeatureCache

        cache = self.run_options.open_cache() if self.options.cache else None
        if cache is None and self._explains:
            cache = FeatureCache(stack.enter_context(TemporaryDirectory(prefix="vtloc-")))
        return cache

    def _write_outputs(self, cache: FeatureCache | None) -> list[Path]:
        # Imported here, because most runs only print.
        from vtloc_runtime.cli.output_writing import OutputSources, OutputWriter
        from vtloc_runtime.report.evidence import read_evidence
        from vtloc_runtime.video.isolation.decoder_process import DecoderProcess

        order = {unicode_name(job.id): index for index, job in enumerate(self.jobs)}
        ordered = sorted(self.records, key=lambda record: order[record.id])
        paths = {unicode_name(self.names.get(job.video, job.video)): job.video for job in self.jobs}
        with ExitStack() as stack:
            explain: Explain | None = None
            if cache is not None and self._explains and any(r.error is None for r in ordered):
                localizer = stack.enter_context(
                    Localizer.open(
                        self.bundle,
                        lazy=True,
                        **self.run_options.localizer_options(self.options.decoding),
                    )
                )
                decoder = stack.enter_context(DecoderProcess(self.run_options.decoder_limits))
                questions = {unicode_name(job.id): job.question for job in self.jobs}

                def explain(path: str, records: Sequence[Record]) -> Evidence:
                    asked = {record.asked: questions[record.id] for record in records}
                    return read_evidence(localizer, path, asked, cache, read=decoder.read)

            sources = OutputSources(
                inputs=self.inputs,
                bundle=self.bundle,
                explain=explain,
                limits=self.run_options.decoder_limits,
                paths=paths,
            )
            return OutputWriter(self.outputs, sources, self.run_options.note).write(ordered)

    def _answer(
        self, results: ResultsFile | None, fingerprint: str, cache: FeatureCache | None
    ) -> int | None:
        """Answer the jobs that are not answered yet.

        Returns:
            The exit code if the run was interrupted, None if it finished.
        """
        videos = self._unanswered(results)
        if not videos:
            return None
        # People see answers as they come; programs see them in the order of the videos.
        in_order = self.options.in_order or (results is None and not self._tables)
        pipeline = replace(self.run_options.pipeline(in_order=in_order, cache=False), cache=cache)
        options = self.options
        work = AnswerVideos(
            options.moments,
            fingerprint,
            pipeline.cache,
            quick=options.quick,
            fine=options.fine,
        )
        shown = sys.stderr.isatty() and not self.run_options.quiet
        with (
            Interruption(graceful=results is not None) as interruption,
            RunProgress(
                [task.video for task in videos], shown=shown, limits=pipeline.limits
            ) as progress,
            self.run_options.run(
                self.bundle,
                videos,
                work,
                pipeline=pipeline,
                progress=progress.reached,
                decoding=self.options.decoding,
            ) as run,
            closing(
                end_on_lost_backend(run.results(lambda: interruption.asked), _passing_failure)
            ) as answers,
        ):
            for found in answers:
                records = [self._renamed(record) for record in found]
                if results is not None:
                    results.append(records)
                for record in records:
                    self._add(record)
                progress.advance(found[0].video, found[0].duration)
                with progress.paused():
                    self._show(records)
        unfinished = interruption.asked and self.tally.records < len(self.jobs)
        return interruption.exit_code if unfinished else None

    def _unanswered(self, results: ResultsFile | None) -> list[VideoJobs]:
        """The jobs that no earlier run has answered, by video."""
        if results is None:
            return group_by_video(self.jobs)
        done: set[str] = set()
        known: dict[str, list[Record]] = {}
        for record in take_done(results, self.jobs, retry_failed=self.options.retry_failed):
            done.add(record.id)
            self._add(record, earlier=True)
            known.setdefault(record.video, []).append(record)
        if self._tables:
            for records in known.values():
                print_records(records)
        videos = group_by_video(job for job in self.jobs if unicode_name(job.id) not in done)
        if done and videos:
            self.run_options.note(f"{len(done)} of {len(self.jobs)} sentences are answered already")
        return videos

    def _add(self, record: Record, *, earlier: bool = False) -> None:
        self.tally.add(record, earlier=earlier)
        if self.outputs.wanted:
            self.records.append(record)

    def _renamed(self, record: Record) -> Record:
        name = self.names.get(record.video)
        return record if name is None else msgspec.structs.replace(record, video=name)

    def _show(self, records: list[Record]) -> None:
        """Show one video's records: a table to people, JSON lines to programs, errors always."""
        if self._tables:
            print_records(records)
            return
        piped = self.options.out is None and not sys.stdout.isatty()
        if (self.options.json or piped) and not self.outputs.prints:
            write_lines(b"".join(encode_record(record) for record in records))
        print_failures(records)

    def _summarize(self, written: list[Path], *, stopped: bool) -> None:
        options = self.options
        if stopped:
            self.run_options.note(
                f"stopped: {self.tally.records} of {len(self.jobs)} sentences are answered; "
                "run the same command again to resume"
            )
        elif options.out is not None or self.outputs.wanted or sys.stdout.isatty():
            paths = [str(path) for path in (options.out, *written) if path is not None]
            places = f", written to {' and '.join(paths)}" if paths else ""
            self.run_options.note(f"{self.tally}{places}{self.tally.speed}{sandbox_note()}")


@contextmanager
def _results_file(options: FindOptions, fingerprint: str) -> Iterator[ResultsFile | None]:
    if options.out is None:
        yield None
        return
    with ResultsFile(
        options.out, run=fingerprint, overwrite=options.overwrite, repair=options.repair
    ) as results:
        if results.kept_aside is not None:
            lines = "line was" if results.damaged == 1 else "lines were"
            print_note(
                f"{options.out}: {results.damaged} damaged {lines} removed; "
                f"the old file is {results.kept_aside}"
            )
        yield results


def _passing_failure(records: list[Record]) -> Failure | None:
    """Why a video's jobs failed, if the cause lies outside the video."""
    failures = [record.error for record in records if record.error is not None and not record.final]
    return failures[0] if failures else None
