"""``vtloc-run VIDEO... -q "sentence"``: find moments."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vtloc_runtime.cli import INTERRUPTED, PROGRAM, exit_codes, leave_with, program_version
from vtloc_runtime.commands.serving import (
    BackendOption,
    BatchOption,
    BundleOption,
    CacheSizeOption,
    DecoderMemoryOption,
    DecoderOption,
    DecoderPatienceOption,
    DeviceOption,
    ExactOption,
    PrecisionOption,
    QuietOption,
    RayOption,
    ReuseOption,
    ServingOptions,
    ThreadsOption,
    VideosOption,
    WorkersOption,
)
from vtloc_runtime.display import RunProgress, print_records, summary
from vtloc_runtime.errors import MissingExtraError, OutputError, UsageError
from vtloc_runtime.interruption import Interruption
from vtloc_runtime.jobs import Job, VideoJobs, group_by_video, read_jobs
from vtloc_runtime.results import Record, encode_record, exit_code
from vtloc_runtime.reuse import DEFAULT_REUSE

if TYPE_CHECKING:
    from vtloc_runtime.bundle import Bundle
    from vtloc_runtime.journal import Journal
    from vtloc_runtime.pipeline import PipelineOptions

_EPILOG = """
Other commands: vtloc-run encode (encode videos ahead), vtloc-run doctor (what this machine can
run), vtloc-run bench (how fast).

Exit codes: 0 every sentence was answered; 1 some were not, the rest were; where all failed alike,
and for errors before the work: 2 usage, 3 video, 4 sentence, 5 bundle, 6 backend, 7 network,
8 output, 9 job list, 14 features, 16 engine, 17 missing package, 19 cluster; 70 a fault of vtloc
itself; 130 interrupted; 141 the reader of the output has gone.
"""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class FindOptions:
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


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"{PROGRAM} {program_version()}")
        raise typer.Exit


@app.command(epilog=_EPILOG)
def find(
    videos: Annotated[
        list[str],
        typer.Argument(
            help="Videos, folders, patterns, or lists: .txt (a video a line), .csv (columns "
            "video, query, id), .jsonl (objects with video and query or queries), or the "
            "annotations of ActivityNet Captions, Charades-STA or QVHighlights."
        ),
    ],
    *,
    query: Annotated[
        list[str] | None,
        typer.Option("--query", "-q", help="A sentence to find; give it again for more."),
    ] = None,
    videos_folder: VideosOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Write JSON lines here; the same command again goes on.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Begin --out anew instead of going on.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Do the jobs again that --out says failed.")
    ] = False,
    moments: Annotated[
        int, typer.Option("--moments", "-k", min=1, help="Moments for each sentence at most.")
    ] = 1,
    bundle: BundleOption = None,
    backend: BackendOption = "onnxruntime",
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    decoding: Annotated[
        str | None,
        typer.Option(
            help="joint, argmax, soft, similarity or combined; the bundle's own without it."
        ),
    ] = None,
    always_answer: Annotated[
        bool,
        typer.Option("--always-answer", help='Never "no such moment"; give the best there is.'),
    ] = False,
    threads: ThreadsOption = None,
    batch: BatchOption = None,
    workers: WorkersOption = None,
    in_order: Annotated[
        bool, typer.Option("--in-order", help="Write --out in the order of the videos.")
    ] = False,
    reuse: ReuseOption = DEFAULT_REUSE,
    exact: ExactOption = False,
    cache: Annotated[
        bool, typer.Option("--cache/--no-cache", help="Keep encoded videos for later runs.")
    ] = True,
    cache_size: CacheSizeOption = 10.0,
    decoder: DecoderOption = "cpu",
    decoder_memory: DecoderMemoryOption = 4.0,
    decoder_patience: DecoderPatienceOption = 120.0,
    ray: RayOption = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON lines on a terminal too.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option("--report", help="Also write a page that shows the moments.")
    ] = None,
    quiet: QuietOption = False,
    version: Annotated[  # noqa: ARG001 - its callback has done the work by now
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Say the version."),
    ] = False,
) -> None:
    """Find the moments of videos that sentences describe.

    Prints a table on a terminal and JSON lines into a pipe or --out. One video's failure is a
    record; the others go on.
    """
    serving = ServingOptions(
        bundle=bundle,
        backend=backend,
        device=device,
        precision=precision,
        decoding=decoding,
        threads=threads,
        batch=batch,
        workers=workers,
        reuse=0.0 if exact else reuse,
        cache=cache,
        cache_size=cache_size,
        decoder=decoder,
        decoder_memory=decoder_memory,
        decoder_patience=decoder_patience,
    )
    options = FindOptions(
        serving=serving,
        videos=videos_folder,
        out=out,
        overwrite=overwrite,
        retry_failed=retry_failed,
        moments=moments,
        always_answer=always_answer,
        in_order=in_order,
        ray=ray,
        json=json,
        report=report,
        quiet=quiet,
    )
    leave_with(lambda: run_find(videos, query or [], options))


def run_find(videos: list[str], queries: list[str], options: FindOptions) -> int:
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
    from vtloc_runtime.bundle import Bundle
    from vtloc_runtime.identity import run_identity
    from vtloc_runtime.text import clean_query

    if options.out is None and (options.overwrite or options.retry_failed):
        raise UsageError("--overwrite and --retry-failed speak of a file", remedy="Name it: --out")
    for sentence in queries:
        clean_query(sentence)
    jobs = read_jobs(videos, queries, videos=options.videos)
    if options.report is not None:
        _check_report(options.report)
    serving = options.serving
    bundle = Bundle.open(serving.bundle)
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
        from vtloc_runtime.journal import Journal

        with Journal(options.out, run=run, overwrite=options.overwrite) as journal:
            if options.retry_failed:
                journal.forget({record.id for record in journal.records if record.failed})
            records, stopped = _work(bundle, jobs, options, run, journal)
    if options.report is not None:
        _write_report(options.report, jobs, records)
    _close(jobs, records, options, stopped=stopped)
    return INTERRUPTED if stopped else exit_code(records, exit_codes())


def _work(
    bundle: Bundle, jobs: list[Job], options: FindOptions, run: str, journal: Journal | None
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
    options: FindOptions,
    *,
    run: str,
    pipeline: PipelineOptions,
    progress: RunProgress,
) -> Iterator[Callable[[Callable[[], bool]], Generator[list[Record], None, None]]]:
    """Open what answers, here or on a cluster; gives what begins the work until it is stopped."""
    if options.ray is not None:
        from vtloc_runtime.commands.spreading import spread_over
        from vtloc_runtime.scale_out.answering import AnswerVideos

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
    from vtloc_runtime.pipeline import run_jobs

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


def _show(records: list[Record], options: FindOptions) -> None:
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


def _close(jobs: list[Job], records: list[Record], options: FindOptions, *, stopped: bool) -> None:
    if stopped:
        _note(
            f"stopped: {len(records)} of {len(jobs)} sentences are answered; "
            f"give the same command again to go on",
            options,
        )
    elif options.out is not None or sys.stdout.isatty():
        place = f", written to {options.out}" if options.out is not None else ""
        _note(f"{summary(records)}{place}", options)


def _note(text: str, options: FindOptions, *, when: bool = True) -> None:
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
