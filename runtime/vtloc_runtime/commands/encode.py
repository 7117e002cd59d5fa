"""``vtloc-run encode VIDEO...``: encode videos ahead, so that sentences are answered at once."""

from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer

from vtloc_runtime.cli import INTERRUPTED, PROGRAM, exit_codes, leave_with
from vtloc_runtime.commands.serving import (
    BackendOption,
    BatchOption,
    BundleOption,
    CacheSizeOption,
    DecoderMemoryOption,
    DecoderPatienceOption,
    DeviceOption,
    PrecisionOption,
    QuietOption,
    ReuseOption,
    ServingOptions,
    ThreadsOption,
    VideosOption,
    WorkersOption,
)
from vtloc_runtime.display import RunProgress
from vtloc_runtime.errors import VideoError
from vtloc_runtime.interruption import Interruption
from vtloc_runtime.jobs import read_videos
from vtloc_runtime.results import Failure, describe

if TYPE_CHECKING:
    from collections.abc import Generator

    from vtloc_runtime.encoding import VideoEncoder
    from vtloc_runtime.features import FeatureCache
    from vtloc_runtime.localizer import Localizer
    from vtloc_runtime.pipeline import PipelineOptions, Progress
    from vtloc_runtime.reading import Read

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@dataclass(frozen=True, slots=True)
class EncodeOutcome:
    """What became of one video.

    Attributes:
        video: The video, as it was given.
        frames: Frames encoded; 0 where it failed.
        duration: The video's length, seconds.
        cached: Whether the cache held it already.
        warnings: What its reader had to say.
        error: Why it could not be encoded.
    """

    video: str
    frames: int = 0
    duration: float = 0.0
    cached: bool = False
    warnings: tuple[str, ...] = field(default=())
    error: Failure | None = None


@app.command(
    epilog="Exit codes: 0 every video is in the cache; 1 some are not; where all failed alike, and "
    "for errors before the work, as vtloc-run --help lists them; 130 interrupted."
)
def encode(
    videos: Annotated[
        list[str],
        typer.Argument(help="Videos, folders, patterns, or lists, as vtloc-run takes them."),
    ],
    *,
    videos_folder: VideosOption = None,
    bundle: BundleOption = None,
    backend: BackendOption = "onnxruntime",
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
    batch: BatchOption = None,
    workers: WorkersOption = None,
    reuse: ReuseOption = 0.0,
    cache_size: CacheSizeOption = 10.0,
    decoder_memory: DecoderMemoryOption = 4.0,
    decoder_patience: DecoderPatienceOption = 120.0,
    quiet: QuietOption = False,
) -> None:
    """Encode videos into the cache, so that later runs need not decode them.

    Prints one JSON object a video. What is in the cache already is not encoded again, so the same
    command goes on where it was interrupted.
    """
    options = ServingOptions(
        bundle=bundle,
        backend=backend,
        device=device,
        precision=precision,
        threads=threads,
        batch=batch,
        workers=workers,
        reuse=reuse,
        cache=True,
        cache_size=cache_size,
        decoder_memory=decoder_memory,
        decoder_patience=decoder_patience,
    )
    leave_with(lambda: run_encode(read_videos(videos, videos=videos_folder), options, quiet=quiet))


def run_encode(videos: list[str], options: ServingOptions, *, quiet: bool) -> int:
    """Encode videos and print what became of each.

    Returns:
        The exit code.

    Raises:
        VtlocError: The work cannot begin.
    """
    import msgspec

    from vtloc_runtime.bundle import Bundle

    bundle = Bundle.open(options.bundle)
    pipeline = options.pipeline(in_order=False)
    outcomes: list[EncodeOutcome] = []
    shown = sys.stderr.isatty() and not quiet
    with (
        options.open_localizer(bundle, lanes=pipeline.lanes_for(len(videos))) as localizer,
        RunProgress(len(videos), shown=shown) as progress,
        Interruption(graceful=True) as interruption,
        closing(
            encode_videos(
                localizer, videos, pipeline, progress=progress.reached, interruption=interruption
            )
        ) as found,
    ):
        for outcome in found:
            outcomes.append(outcome)
            progress.advance(outcome.video)
            with progress.paused():
                sys.stdout.buffer.write(msgspec.json.encode(outcome) + b"\n")
                sys.stdout.buffer.flush()
    stopped = interruption.asked and len(outcomes) < len(videos)
    if not quiet:
        failed = sum(outcome.error is not None for outcome in outcomes)
        frames = sum(outcome.frames for outcome in outcomes if not outcome.cached)
        word = "stopped" if stopped else "done"
        typer.echo(
            f"{PROGRAM}: {word}: {len(outcomes) - failed} of {len(videos)} videos are in the "
            f"cache, {frames} frames encoded",
            err=True,
        )
    return INTERRUPTED if stopped else _exit_code(outcomes)


def encode_videos(
    localizer: Localizer,
    videos: list[str],
    options: PipelineOptions,
    *,
    progress: Progress | None = None,
    interruption: Interruption | None = None,
) -> Generator[EncodeOutcome, None, None]:
    """Encode videos into the pipeline's cache.

    Args:
        localizer: What encodes.
        videos: Paths; what is no regular file cannot be kept, and fails.
        options: How the work is spread; holds the cache.
        progress: Told how far each reading has come.
        interruption: Asked before each video.

    Yields:
        What became of each video, as it comes.
    """
    from vtloc_runtime.features import FeatureCache
    from vtloc_runtime.pipeline import run_lanes

    cache = options.cache or FeatureCache()

    def work(video: str, read: Read) -> EncodeOutcome:
        def reached(seconds: float) -> None:
            if progress is not None:
                progress(video, seconds)

        try:
            key = _key(cache, video, localizer.encoder, read)
            encoded = cache.get(key)
            cached = encoded is not None
            if encoded is None:
                encoded = localizer.encode_video(video, progress=reached, read=read)
                cache.put(key, encoded)
        except Exception as error:  # noqa: BLE001 - one video's failure must not end the run
            return EncodeOutcome(video, error=describe(error))
        duration = round(encoded.duration, 3)
        return EncodeOutcome(video, len(encoded), duration, cached, encoded.warnings)

    return run_lanes(
        work, videos, options, stop=lambda: interruption is not None and interruption.asked
    )


def _key(cache: FeatureCache, video: str, encoder: VideoEncoder, read: Read) -> str:
    """The video's name in the cache.

    Raises:
        VideoError: It is no file, or cannot be read.
    """
    key = cache.key(video, encoder.signature)
    if key is None:
        # Let the reader say what is wrong with it, where something is.
        next(read(video, encoder.options(), 1), None)
        raise VideoError("only files can be encoded ahead", where=video)
    return key


def _exit_code(outcomes: list[EncodeOutcome]) -> int:
    kinds = {outcome.error.kind for outcome in outcomes if outcome.error is not None}
    if not kinds:
        return 0
    if len(kinds) == 1 and all(outcome.error is not None for outcome in outcomes):
        return exit_codes().get(kinds.pop(), 1)
    return 1
