"""What ``vtloc-run VIDEO... -q "sentence"`` does: answer what is not answered yet, and show it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vtloc_runtime.batch.answer import AnswerVideos
from vtloc_runtime.batch.fingerprint import run_fingerprint
from vtloc_runtime.batch.jobs import Job, VideoJobs, group_by_video, input_files, read_jobs
from vtloc_runtime.batch.lost_backend import end_on_lost_backend
from vtloc_runtime.batch.records import Record, encode_record
from vtloc_runtime.batch.results_file import ResultsFile
from vtloc_runtime.batch.resume import take_done
from vtloc_runtime.batch.tally import RunTally
from vtloc_runtime.bundle.user_folder import bundle_for
from vtloc_runtime.cli.exit_codes import exit_code_of_failures
from vtloc_runtime.cli.interrupts import Interruption, Stopped
from vtloc_runtime.cli.main import PROGRAM
from vtloc_runtime.cli.outputs import check_outputs
from vtloc_runtime.cli.terminal import (
    RunProgress,
    print_line,
    print_records,
    sandbox_note,
    write_lines,
)
from vtloc_runtime.errors import UsageError
from vtloc_runtime.localize.picture_encoder import check_shared
from vtloc_runtime.localize.tokenizer import clean_query
from vtloc_runtime.networks.load import Placement
from vtloc_runtime.system.text import unicode_name

if TYPE_CHECKING:
    from pathlib import Path

    from vtloc_runtime.batch.records import Failure
    from vtloc_runtime.bundle.bundle import Bundle
    from vtloc_runtime.cli.find import SearchOptions
    from vtloc_runtime.cli.options import RunOptions
    from vtloc_runtime.video.isolation.limits import DecoderLimits


def search(videos: list[str], options: SearchOptions, run_options: RunOptions) -> int:
    """Find sentences in videos and show the answers.

    Args:
        videos: Videos, folders, patterns and lists.
        options: What to search for, and what to do with the answers.
        run_options: How to process the videos.

    Returns:
        The exit code.

    Raises:
        VtlocError: The work cannot begin, or its results cannot be written.
    """
    if options.out is None and (options.overwrite or options.retry_failed or options.repair):
        raise UsageError("--overwrite, --retry-failed and --repair need --out")
    queries = options.query or []
    for sentence in queries:
        clean_query(sentence)
    messages = _Messages(quiet=run_options.quiet)
    jobs = read_jobs(
        videos,
        queries,
        like=options.like or (),
        videos=run_options.videos_folder,
        notice=messages.show,
    )
    bundle = run_options.open_bundle()
    pictures = dict.fromkeys(path for job in jobs for path in job.like)
    if pictures:
        check_shared(bundle.manifest.shared_space)
    inputs = [*input_files(videos), *dict.fromkeys(job.video for job in jobs), *pictures]
    check_outputs(options.out, options.report, inputs=inputs, bundle=bundle.path)
    bundle = bundle_for(bundle, run_options.backend)
    if options.always_answer:
        bundle = bundle.always_answering()
    search_run = _Search(bundle, jobs, options, run_options, messages)
    try:
        return search_run.run()
    except Stopped as interrupt:
        print_line(f"{PROGRAM}: stopped")
        return interrupt.exit_code


@dataclass(frozen=True, slots=True)
class _Messages:
    """Lines for people on standard error.

    Attributes:
        quiet: Show none.
    """

    quiet: bool

    def show(self, text: str) -> None:
        if not self.quiet:
            print_line(f"{PROGRAM}: {text}")


@dataclass
class _Search:
    """One run: the jobs, and the records so far, with those of earlier runs."""

    bundle: Bundle
    jobs: list[Job]
    options: SearchOptions
    run_options: RunOptions
    messages: _Messages
    tally: RunTally = field(default_factory=RunTally)
    records: list[Record] = field(default_factory=list)
    """All records, if a report is to be written."""

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
        )
        with _results_file(self.options, fingerprint) as results:
            interrupted = self._answer(results, fingerprint)
        if self.options.report is not None:
            limits = run_options.decoder_limits
            _write_report(self.options.report, self.jobs, self.records, limits)
        self._summarize(stopped=interrupted is not None)
        if interrupted is not None:
            return interrupted
        return exit_code_of_failures(self.tally.failures, total=self.tally.records)

    def _answer(self, results: ResultsFile | None, fingerprint: str) -> int | None:
        """Answer the jobs that are not answered yet.

        Returns:
            The exit code if the run was interrupted, None if it finished.
        """
        videos = self._unanswered(results)
        if not videos:
            return None
        # Without a file there is nothing to resume, so order costs nothing.
        in_order = self.options.in_order or results is None
        pipeline = self.run_options.pipeline(in_order=in_order, cache=self.options.cache)
        work = AnswerVideos(
            self.options.moments, fingerprint, pipeline.cache, fine=self.options.fine
        )
        shown = sys.stderr.isatty() and not self.run_options.quiet
        with (
            Interruption(graceful=results is not None) as interruption,
            RunProgress(len(videos), shown=shown) as progress,
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
            for records in answers:
                if results is not None:
                    results.append(records)
                for record in records:
                    self._add(record)
                progress.advance(records[0].video)
                with progress.paused():
                    _show(records, self.options)
        unfinished = interruption.asked and self.tally.records < len(self.jobs)
        return interruption.exit_code if unfinished else None

    def _unanswered(self, results: ResultsFile | None) -> list[VideoJobs]:
        """The jobs that no earlier run has answered, by video."""
        if results is None:
            return group_by_video(self.jobs)
        done: set[str] = set()
        for record in take_done(results, self.jobs, retry_failed=self.options.retry_failed):
            done.add(record.id)
            self._add(record)
        videos = group_by_video(job for job in self.jobs if unicode_name(job.id) not in done)
        if done and videos:
            self.messages.show(f"{len(done)} of {len(self.jobs)} sentences are answered already")
        return videos

    def _add(self, record: Record) -> None:
        self.tally.add(record)
        if self.options.report is not None:
            self.records.append(record)

    def _summarize(self, *, stopped: bool) -> None:
        options = self.options
        if stopped:
            self.messages.show(
                f"stopped: {self.tally.records} of {len(self.jobs)} sentences are answered; "
                "run the same command again to resume"
            )
        elif options.out is not None or options.report is not None or sys.stdout.isatty():
            paths = [str(path) for path in (options.out, options.report) if path is not None]
            written = f", written to {' and '.join(paths)}" if paths else ""
            self.messages.show(f"{self.tally}{written}{sandbox_note()}")


@contextmanager
def _results_file(options: SearchOptions, fingerprint: str) -> Iterator[ResultsFile | None]:
    if options.out is None:
        yield None
        return
    with ResultsFile(
        options.out, run=fingerprint, overwrite=options.overwrite, repair=options.repair
    ) as results:
        if results.kept_aside is not None:
            lines = "line was" if results.damaged == 1 else "lines were"
            print_line(
                f"{PROGRAM}: {options.out}: {results.damaged} damaged {lines} removed; "
                f"the old file is {results.kept_aside}"
            )
        yield results


def _passing_failure(records: list[Record]) -> Failure | None:
    """Why a video's jobs failed, if the cause lies outside the video."""
    failures = [record.error for record in records if record.error is not None and not record.final]
    return failures[0] if failures else None


def _show(records: list[Record], options: SearchOptions) -> None:
    """Show one video's records: a table on a terminal, JSON lines in a pipe, errors always."""
    if options.json or (options.out is None and not sys.stdout.isatty()):
        write_lines(b"".join(encode_record(record) for record in records))
    if sys.stdout.isatty() and not options.json:
        print_records(records)
        return
    failures = {
        f"{record.error.kind} error: {record.error.where or record.video}: {record.error.what}"
        + (f". {record.error.remedy}" if record.error.remedy else "")
        for record in records
        if record.error is not None
    }
    for line in sorted(failures):
        print_line(f"{PROGRAM}: {line}")


def _write_report(
    path: Path, jobs: list[Job], records: list[Record], limits: DecoderLimits
) -> None:
    from vtloc_runtime.report.answers import group_answers
    from vtloc_runtime.report.page import write_page

    order = {unicode_name(job.id): index for index, job in enumerate(jobs)}
    ordered = sorted(records, key=lambda record: order[record.id])
    write_page(path, group_answers(ordered, limits))
