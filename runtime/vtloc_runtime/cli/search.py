"""What ``vtloc-run VIDEO... -q "sentence"`` does: answer what is not answered yet, and show it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from vtloc_runtime.batch.jobs import Job, VideoJobs, group_by_video, read_jobs
from vtloc_runtime.batch.records import Record, encode_record, exit_code
from vtloc_runtime.cli.interrupts import Interruption
from vtloc_runtime.cli.main import INTERRUPTED, PROGRAM, exit_codes
from vtloc_runtime.cli.terminal import RunProgress, print_records, summary
from vtloc_runtime.errors import MissingExtraError, OutputError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from vtloc_runtime.batch.results_file import Journal
    from vtloc_runtime.batch.worker_pool import PipelineOptions
    from vtloc_runtime.bundle.bundle import Bundle
    from vtloc_runtime.cli.options import ServingOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """What to do, as the command line said it."""

    serving: ServingOptions
    videos: Path | None
    out: Path | None
    overwrite: bool
    retry_failed: bool
    moments: int
    always_answer: bool
    in_order: bool
    ray: str | None
    json: bool
    report: Path | None
    quiet: bool


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
    from vtloc_runtime.bundle.bundle import Bundle
    from vtloc_runtime.bundle.user_folder import bundle_for
    from vtloc_runtime.localize.tokenizer import clean_query

    if options.out is None and (options.overwrite or options.retry_failed):
        raise UsageError("--overwrite and --retry-failed speak of a file", remedy="Name it: --out")
    for sentence in queries:
        clean_query(sentence)
    jobs = read_jobs(videos, queries, videos=options.videos)
    if options.report is not None:
        _check_report(options.report)
    serving = options.serving
    bundle = bundle_for(Bundle.open(serving.bundle), serving.backend)
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
    if options.out is None:
        records, stopped = _work(bundle, jobs, options, run, None)
    else:
        from vtloc_runtime.batch.results_file import Journal

        with Journal(options.out, run=run, overwrite=options.overwrite) as journal:
            if options.retry_failed:
                journal.forget({record.id for record in journal.records if record.failed})
            records, stopped = _work(bundle, jobs, options, run, journal)
    if options.report is not None:
        _write_report(options.report, jobs, records)
    _close(jobs, records, options, stopped=stopped)
    return INTERRUPTED if stopped else exit_code(records, exit_codes())


def _work(
    bundle: Bundle, jobs: list[Job], options: SearchOptions, run: str, journal: Journal | None
) -> tuple[list[Record], bool]:
    """Do what is not done yet.

    Returns:
        The records of these jobs, those of earlier runs included, and whether it was interrupted.
    """
    wanted = {job.id for job in jobs}
    earlier = [] if journal is None else [r for r in journal.records if r.id in wanted]
    done = {record.id for record in earlier}
    left = group_by_video(job for job in jobs if job.id not in done)
    records = list(earlier)
    if not left:
        return records, False
    _note(f"{len(done)} of {len(jobs)} sentences are answered already", options, when=bool(done))
    # Without a file there is nothing to go on with, so order costs nothing.
    pipeline = options.serving.pipeline(in_order=options.in_order or journal is None)
    shown = sys.stderr.isatty() and not options.quiet
    with (
        RunProgress(len(left), shown=shown) as progress,
        _opened(bundle, left, options, run=run, pipeline=pipeline, progress=progress) as begin,
        Interruption(graceful=journal is not None) as interruption,
        closing(begin(lambda: interruption.asked)) as answers,
    ):
        for answered in answers:
            if journal is not None:
                journal.append(answered)
            records.extend(answered)
            progress.advance(answered[0].video)
            with progress.paused():
                _show(answered, options)
        stopped = interruption.asked and len(records) < len(jobs)
    return records, stopped


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
        sys.stdout.buffer.write(b"".join(encode_record(record) for record in records))
        sys.stdout.buffer.flush()
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
        typer.echo(f"{PROGRAM}: {' '.join(line.split())}", err=True)


def _close(
    jobs: list[Job], records: list[Record], options: SearchOptions, *, stopped: bool
) -> None:
    if stopped:
        _note(
            f"stopped: {len(records)} of {len(jobs)} sentences are answered; "
            f"give the same command again to go on",
            options,
        )
    elif options.out is not None or sys.stdout.isatty():
        place = f", written to {options.out}" if options.out is not None else ""
        _note(f"{summary(records)}{place}", options)


def _note(text: str, options: SearchOptions, *, when: bool = True) -> None:
    if when and not options.quiet:
        typer.echo(f"{PROGRAM}: {text}", err=True)


def _check_report(path: Path) -> None:
    """Refuse a report that could not be written, before any work is done for it."""
    import os
    from importlib.util import find_spec

    if find_spec("jinja2") is None:
        raise MissingExtraError.of("jinja2", extra="report", purpose="The report")
    parent = path.absolute().parent
    while not parent.exists():
        parent = parent.parent
    if path.is_dir() or not parent.is_dir() or not os.access(parent, os.W_OK):
        raise OutputError("the report cannot be written there", where=path)


def _write_report(path: Path, jobs: list[Job], records: list[Record]) -> None:
    from vtloc_runtime.report.answers import answers_of
    from vtloc_runtime.report.page import write_page

    order = {job.id: index for index, job in enumerate(jobs)}
    ordered = sorted(records, key=lambda record: order[record.id])
    write_page(path, answers_of(ordered))
