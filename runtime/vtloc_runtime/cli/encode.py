"""``vtloc-run encode VIDEO...``: encode videos in advance, so that sentences are answered fast."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Generator
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from vtloc_runtime.batch.job_lists.jobs import read_videos
from vtloc_runtime.batch.results.tally import speed_of
from vtloc_runtime.bundle.user_folder import bundle_for
from vtloc_runtime.cli.console.exit_codes import exit_code_of_failures
from vtloc_runtime.cli.console.interrupts import Interruption
from vtloc_runtime.cli.console.option_groups import with_options
from vtloc_runtime.cli.console.program import new_application
from vtloc_runtime.cli.console.progress import RunProgress
from vtloc_runtime.cli.console.terminal import print_note, sandbox_note, write_lines
from vtloc_runtime.cli.options import RunOptions
from vtloc_runtime.errors import OutputError
from vtloc_runtime.system.text import ascii_json_controls

if TYPE_CHECKING:
    from vtloc_runtime.batch.encode import EncodeOutcome

app = new_application()


@app.command(
    epilog="Exit codes: 0 every video is in the cache; 1 some videos failed. If all failed for "
    "the same reason, or nothing could be done, the codes of vtloc-run --help. 130 interrupted."
)
@with_options
def encode(
    videos: Annotated[
        list[str],
        typer.Argument(help="Videos, folders, patterns, or lists, as for vtloc-run."),
    ],
    *,
    options: RunOptions,
) -> int:
    """Encode videos into the feature cache, so that later runs need not decode them.

    Prints one JSON object per video. Videos that are in the cache are skipped, so the same command
    resumes after an interruption.
    """
    return encode_videos(
        read_videos(videos, videos=options.videos_folder, notice=options.note), options
    )


def encode_videos(videos: list[str], options: RunOptions) -> int:
    """Encode videos and print the outcome of each.

    Args:
        videos: Paths or addresses.
        options: How to process them.

    Returns:
        The exit code.

    Raises:
        VtlocError: The work cannot begin.
    """
    # Imported here, so that help does not load the packages of decoders and networks.
    import msgspec

    from vtloc_runtime.batch.encode import EncodeVideos

    bundle = bundle_for(options.open_bundle(), options.backend)
    pipeline = options.pipeline()
    if pipeline.cache is None:
        raise OutputError(
            "the feature cache has no folder", remedy="Set the environment variable VTLOC_CACHE"
        )
    work = EncodeVideos(pipeline.cache)
    began = time.monotonic()
    outcomes: list[EncodeOutcome] = []
    shown = sys.stderr.isatty() and not options.quiet
    with (
        Interruption(graceful=True) as interruption,
        RunProgress(videos, shown=shown, limits=options.decoder_limits) as progress,
        options.run(bundle, videos, work, pipeline=pipeline, progress=progress.reached) as run,
        closing(_end_on_loss(run.results(lambda: interruption.asked))) as results,
    ):
        for outcome in results:
            outcomes.append(outcome)
            progress.advance(outcome.video, outcome.duration)
            with progress.paused():
                line = ascii_json_controls(msgspec.json.encode(outcome).decode())
                write_lines(f"{line}\n".encode())
    stopped = interruption.asked and len(outcomes) < len(videos)
    if not options.quiet:
        _print_summary(outcomes, len(videos), time.monotonic() - began, stopped=stopped)
    if stopped:
        return interruption.exit_code
    failures = Counter(outcome.error.kind for outcome in outcomes if outcome.error is not None)
    return exit_code_of_failures(failures, total=len(outcomes))


def _end_on_loss(
    outcomes: Generator[EncodeOutcome, None, None],
) -> Generator[EncodeOutcome, None, None]:
    """End the run if the backend is lost, or the cache can no longer be written."""
    from vtloc_runtime.batch.results.records import PASSING_KINDS
    from vtloc_runtime.batch.workers.lost_backend import end_on_lost_backend

    kinds = PASSING_KINDS | {OutputError.kind}
    return end_on_lost_backend(outcomes, lambda outcome: outcome.error, kinds=kinds)


def _print_summary(
    outcomes: list[EncodeOutcome], total: int, seconds: float, *, stopped: bool
) -> None:
    failed = sum(outcome.error is not None for outcome in outcomes)
    frames = sum(outcome.frames for outcome in outcomes if not outcome.cached)
    length = sum(outcome.duration for outcome in outcomes if not outcome.cached)
    print_note(
        f"{'stopped' if stopped else 'done'}: {len(outcomes) - failed} of {total} "
        f"videos are in the cache, {frames} frames encoded{speed_of(length, seconds)}"
        f"{sandbox_note()}"
    )
