"""What ``vtloc-run VIDEO... -q "sentence"`` does: answer what is not answered yet, and show it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vtloc_runtime.batch.jobs import Job, VideoJobs, group_by_video, input_files, read_jobs
from vtloc_runtime.batch.lost_backend import end_on_lost_backend
from vtloc_runtime.batch.records import Record, encode_record
from vtloc_runtime.batch.resume import take_done
from vtloc_runtime.batch.tally import RunTally
from vtloc_runtime.cli.interrupts import Interruption, Stopped
from vtloc_runtime.cli.main import PROGRAM
from vtloc_runtime.cli.program import exit_codes
from vtloc_runtime.cli.terminal import (
    RunProgress,
    print_line,
    print_records,
    sandbox_note,
    write_lines,
)
from vtloc_runtime.errors import UsageError
from vtloc_runtime.system.text import unicode_name

if TYPE_CHECKING:
    from pathlib import Path

    from vtloc_runtime.batch.records import Failure
    from vtloc_runtime.batch.results_file import ResultsFile
    from vtloc_runtime.batch.worker_pool import PipelineOptions
    from vtloc_runtime.bundle.bundle import Bundle
    from vtloc_runtime.cli.options import ServingOptions
    from vtloc_runtime.video.isolation.limits import DecoderLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """What to do, as the command line said it."""

    serving: ServingOptions
    videos: Path | None
    out: Path | None
    overwrite: bool
    retry_failed: bool
    repair: bool
    moments: int
    always_answer: bool
    in_order: bool
    ray: str | None
    json: bool
    report: Path | None
    quiet: bool


@dataclass
class _Outcome:
    """What is known of a run's jobs so far, those of earlier runs included.

    Attributes:
        keep: Whether to keep the records themselves, which a report needs.
        tally: What they add up to.
        records: The records, where they are kept.
    """

    keep: bool
    tally: RunTally = field(default_factory=RunTally)
    records: list[Record] = field(default_factory=list)

    def add(self, record: Record) -> None:
        self.tally.add(record)
        if self.keep:
            self.records.append(record)


def search(videos: list[str], queries: list[str], options: SearchOptions) -> int:
    """Find sentences in videos and show what was found.

    Args:
        videos: Videos, folders, patterns and lists.
        queries: Sentences for every video that brings none of its own.
        options: The rest of the command line.

    Returns:
        The exit code.

    Raises:
        VtlocError: The work cannot begin, or its results cannot be written.
    """
    from vtloc_runtime.batch.fingerprint import run_identity
    from vtloc_runtime.bundle.user_folder import bundle_for
    from vtloc_runtime.cli.outputs import check_outputs
    from vtloc_runtime.localize.tokenizer import clean_query

    if options.out is None and (options.overwrite or options.retry_failed or options.repair):
        raise UsageError(
            "--overwrite, --retry-failed and --repair need a results file", remedy="Name it: --out"
        )
    for sentence in queries:
        clean_query(sentence)
    jobs = read_jobs(videos, queries, videos=options.videos, notice=_notice(options))
    serving = options.serving
    bundle = serving.open_bundle()
    named = [*input_files(videos), *dict.fromkeys(job.video for job in jobs)]
    check_outputs(options.out, options.report, inputs=named, bundle=bundle.path)
    bundle = bundle_for(bundle, serving.backend)
    if options.always_answer:
        bundle = bundle.always_answering()
    run = run_identity(
        bundle,
        backend=serving.backend,
        device=serving.device,
        precision=serving.precision,
        decoding=serving.decoding,
        moments=options.moments,
        reuse=serving.reuse,
    )
    outcome = _Outcome(keep=options.report is not None)
    try:
        with _opened_results(options, run) as results:
            stopped = _work(bundle, jobs, options, run=run, results=results, outcome=outcome)
    except Stopped as interrupt:
        print_line(f"{PROGRAM}: stopped")
        return interrupt.exit_code
    if options.report is not None:
        _write_report(options.report, jobs, outcome.records, serving.decoder_limits)
    _close(jobs, outcome.tally, options, stopped=stopped is not None)
    return outcome.tally.exit_code(exit_codes()) if stopped is None else stopped


@contextmanager
def _opened_results(options: SearchOptions, run: str) -> Iterator[ResultsFile | None]:
    if options.out is None:
        yield None
        return
    from vtloc_runtime.batch.results_file import ResultsFile

    with ResultsFile(
        options.out, run=run, overwrite=options.overwrite, repair=options.repair
    ) as results:
        if results.kept_aside is not None:
            lines = "line was" if results.damaged == 1 else "lines were"
            print_line(
                f"{PROGRAM}: {options.out}: {results.damaged} damaged {lines} dropped; "
                f"the file as it was is {results.kept_aside}"
            )
        yield results


def _work(
    bundle: Bundle,
    jobs: list[Job],
    options: SearchOptions,
    *,
    run: str,
    results: ResultsFile | None,
    outcome: _Outcome,
) -> int | None:
    """Do what is not done yet.

    Returns:
        The exit code of a run that was interrupted; None where it came to its end.
    """
    done: set[str] = set()
    if results is not None:
        for record in take_done(results, jobs, retry_failed=options.retry_failed):
            done.add(record.id)
            outcome.add(record)
    left = group_by_video(job for job in jobs if unicode_name(job.id) not in done)
    if not left:
        return None
    _note(f"{len(done)} of {len(jobs)} sentences are answered already", options, when=bool(done))
    # Without a file there is nothing to go on with, so order costs nothing.
    pipeline = options.serving.pipeline(in_order=options.in_order or results is None)
    shown = sys.stderr.isatty() and not options.quiet
    with (
        Interruption(graceful=results is not None) as interruption,
        RunProgress(len(left), shown=shown) as progress,
        _opened(bundle, left, options, run=run, pipeline=pipeline, progress=progress) as begin,
        closing(end_on_lost_backend(begin(lambda: interruption.asked), _first_failure)) as answers,
    ):
        for answered in answers:
            if results is not None:
                results.append(answered)
            for record in answered:
                outcome.add(record)
            progress.advance(answered[0].video)
            with progress.paused():
                _show(answered, options)
    unfinished = interruption.asked and outcome.tally.records < len(jobs)
    return interruption.exit_code if unfinished else None


def _first_failure(records: list[Record]) -> Failure | None:
    """Why a video's jobs failed for a reason of the run's own, where all that could fail did."""
    failures = [record.error for record in records if record.error is not None and not record.final]
    return failures[0] if failures else None


@contextmanager
def _opened(
    bundle: Bundle,
    videos: list[VideoJobs],
    options: SearchOptions,
    *,
    run: str,
    pipeline: PipelineOptions,
    progress: RunProgress,
) -> Iterator[Callable[[Callable[[], bool]], Generator[list[Record], None, None]]]:
    """Open what answers, here or on a cluster; gives what begins the work until it is stopped."""
    if options.ray is not None:
        from vtloc_runtime.cluster.answering import AnswerVideos
        from vtloc_runtime.cluster.launch import spread_over

        work = AnswerVideos(options.moments, run, pipeline.cache)
        with spread_over(
            options.ray,
            videos,
            work,
            bundle=bundle,
            serving=options.serving,
            pipeline=pipeline,
        ) as begin:
            yield begin
        return
    from vtloc_runtime.batch.worker_pool import run_jobs

    lanes = pipeline.lanes_for(len(videos))
    with options.serving.open_localizer(bundle, lanes=lanes) as localizer:
        yield lambda stop: run_jobs(
            localizer,
            videos,
            moments=options.moments,
            run=run,
            options=pipeline,
            progress=progress.reached,
            stop=stop,
        )


def _show(records: list[Record], options: SearchOptions) -> None:
    """Show one video's records: a table to people, JSON lines to programs, errors to both."""
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


def _close(jobs: list[Job], tally: RunTally, options: SearchOptions, *, stopped: bool) -> None:
    if stopped:
        _note(
            f"stopped: {tally.records} of {len(jobs)} sentences are answered; "
            f"give the same command again to go on",
            options,
        )
    elif options.out is not None or options.report is not None or sys.stdout.isatty():
        places = [str(path) for path in (options.out, options.report) if path is not None]
        written = f", written to {' and '.join(places)}" if places else ""
        _note(f"{tally}{written}{sandbox_note()}", options)


def _note(text: str, options: SearchOptions, *, when: bool = True) -> None:
    if when and not options.quiet:
        print_line(f"{PROGRAM}: {text}")


def _notice(options: SearchOptions) -> Callable[[str], None]:
    return lambda text: _note(text, options)


def _write_report(
    path: Path, jobs: list[Job], records: list[Record], limits: DecoderLimits
) -> None:
    from vtloc_runtime.report.answers import answers_of
    from vtloc_runtime.report.page import write_page

    order = {unicode_name(job.id): index for index, job in enumerate(jobs)}
    ordered = sorted(records, key=lambda record: order[record.id])
    write_page(path, answers_of(ordered, limits))
