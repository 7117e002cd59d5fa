"""``vtloc-run encode VIDEO...``: encode videos ahead, so that sentences are answered at once."""

from __future__ import annotations

import sys
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer

from vtloc_runtime.batch.jobs import read_videos
from vtloc_runtime.batch.lost_backend import end_on_lost_backend
from vtloc_runtime.batch.records import PASSING_KINDS, Failure, describe
from vtloc_runtime.cli.interrupts import Interruption
from vtloc_runtime.cli.main import PROGRAM
from vtloc_runtime.cli.options import (
    BackendOption,
    BatchOption,
    BundleDigestOption,
    BundleOption,
    CacheSizeOption,
    DecoderMemoryOption,
    DecoderOption,
    DecoderTimeoutOption,
    DeviceOption,
    ExactOption,
    FpsOption,
    MaxDurationOption,
    PrecisionOption,
    QuietOption,
    RayOption,
    RequireSandboxOption,
    ReuseOption,
    ServingOptions,
    ThreadsOption,
    VideosOption,
    VideoTimeoutOption,
    WorkersOption,
)
from vtloc_runtime.cli.program import exit_codes, new_application
from vtloc_runtime.cli.terminal import RunProgress, print_line, sandbox_note, write_lines
from vtloc_runtime.errors import DeviceLostError, OutputError, VideoError
from vtloc_runtime.localize.frame_dedup import DEFAULT_REUSE
from vtloc_runtime.system.text import ascii_json_controls, unicode_name

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from vtloc_runtime.batch.worker_pool import PipelineOptions, Progress
    from vtloc_runtime.bundle.bundle import Bundle
    from vtloc_runtime.errors import ClusterError
    from vtloc_runtime.localize.feature_cache import FeatureCache
    from vtloc_runtime.localize.localizer import Localizer
    from vtloc_runtime.localize.video_encoder import VideoEncoder
    from vtloc_runtime.video.isolation.chunks import Read

app = new_application()


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
    bundle_digest: BundleDigestOption = None,
    backend: BackendOption = "onnxruntime",
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    fps: FpsOption = None,
    threads: ThreadsOption = None,
    batch: BatchOption = None,
    workers: WorkersOption = None,
    reuse: ReuseOption = DEFAULT_REUSE,
    exact: ExactOption = False,
    cache_size: CacheSizeOption = 10.0,
    decoder: DecoderOption = "cpu",
    decoder_memory: DecoderMemoryOption = 4.0,
    decoder_timeout: DecoderTimeoutOption = 120.0,
    video_timeout: VideoTimeoutOption = None,
    max_duration: MaxDurationOption = 86_400.0,
    require_sandbox: RequireSandboxOption = False,
    ray: RayOption = None,
    quiet: QuietOption = False,
) -> int:
    """Encode videos into the cache, so that later runs need not decode them.

    Prints one JSON object a video. What is in the cache already is not encoded again, so the same
    command goes on where it was interrupted.
    """
    options = ServingOptions(
        bundle=bundle,
        bundle_digest=bundle_digest,
        backend=backend,
        device=device,
        precision=precision,
        fps=fps,
        threads=threads,
        batch=batch,
        workers=workers,
        reuse=0.0 if exact else reuse,
        cache=True,
        cache_size=cache_size,
        decoder=decoder,
        decoder_memory=decoder_memory,
        decoder_timeout=decoder_timeout,
        video_timeout=video_timeout,
        max_duration=max_duration,
        require_sandbox=require_sandbox,
    )
    return run_encode(
        read_videos(videos, videos=videos_folder, notice=print_line), options, ray=ray, quiet=quiet
    )


def run_encode(
    videos: list[str], options: ServingOptions, *, ray: str | None = None, quiet: bool
) -> int:
    """Encode videos and print what became of each.

    Args:
        videos: What to encode.
        options: How.
        ray: The address of the cluster that does it; None does it here.
        quiet: Show no progress and no closing line.

    Returns:
        The exit code.

    Raises:
        VtlocError: The work cannot begin.
    """
    import msgspec

    from vtloc_runtime.bundle.user_folder import bundle_for

    bundle = bundle_for(options.open_bundle(), options.backend)
    pipeline = options.pipeline(in_order=False)
    if pipeline.cache is None:
        raise OutputError("there is no place for the cache", remedy="Name one in VTLOC_CACHE")
    outcomes: list[EncodeOutcome] = []
    shown = sys.stderr.isatty() and not quiet
    with (
        Interruption(graceful=True) as interruption,
        RunProgress(len(videos), shown=shown) as progress,
        _opened(bundle, videos, options, ray=ray, pipeline=pipeline, progress=progress) as begin,
        closing(_ending_on_loss(begin(lambda: interruption.asked))) as found,
    ):
        for outcome in found:
            outcomes.append(outcome)
            progress.advance(outcome.video)
            with progress.paused():
                line = ascii_json_controls(msgspec.json.encode(outcome).decode())
                write_lines(f"{line}\n".encode())
    stopped = interruption.asked and len(outcomes) < len(videos)
    if not quiet:
        failed = sum(outcome.error is not None for outcome in outcomes)
        frames = sum(outcome.frames for outcome in outcomes if not outcome.cached)
        word = "stopped" if stopped else "done"
        print_line(
            f"{PROGRAM}: {word}: {len(outcomes) - failed} of {len(videos)} videos are in the "
            f"cache, {frames} frames encoded{sandbox_note()}"
        )
    return interruption.exit_code if stopped else _exit_code(outcomes)


def _ending_on_loss(
    outcomes: Generator[EncodeOutcome, None, None],
) -> Generator[EncodeOutcome, None, None]:
    """End where the backend is lost, or the cache cannot be written any more."""
    kinds = PASSING_KINDS | {OutputError.kind}
    return end_on_lost_backend(outcomes, lambda outcome: outcome.error, kinds=kinds)


@contextmanager
def _opened(
    bundle: Bundle,
    videos: list[str],
    options: ServingOptions,
    *,
    ray: str | None,
    pipeline: PipelineOptions,
    progress: RunProgress,
) -> Iterator[Callable[[Callable[[], bool]], Generator[EncodeOutcome, None, None]]]:
    """Open what encodes, here or on a cluster; gives what begins the work until it is stopped."""
    if ray is not None:
        from vtloc_runtime.cluster.launch import spread_over
        from vtloc_runtime.localize.feature_cache import FeatureCache

        work = EncodeVideos(pipeline.cache or FeatureCache())
        with spread_over(
            ray, videos, work, bundle=bundle, serving=options, pipeline=pipeline
        ) as begin:
            yield begin
        return
    with options.open_localizer(bundle, lanes=pipeline.lanes_for(len(videos))) as localizer:
        yield lambda stop: encode_videos(
            localizer, videos, pipeline, progress=progress.reached, stop=stop
        )


@dataclass(frozen=True, slots=True)
class EncodeVideos:
    """Encode videos into a cache, here or on a cluster.

    Attributes:
        cache: Where they are kept.
    """

    cache: FeatureCache

    def do(
        self,
        localizer: Localizer,
        task: str,
        read: Read,
        *,
        progress: Progress | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> EncodeOutcome:
        """Encode one video, unless it is there; whatever fails becomes the outcome."""
        from vtloc_runtime.batch.worker_pool import StoppedWorkError, encode_again

        try:
            key = _key(self.cache, task, localizer.encoder, read)
            encoded = self.cache.get(key)
            cached = encoded is not None
            if encoded is None:
                encoded = encode_again(localizer, task, progress=progress, read=read, stop=stop)
                self.cache.put(key, encoded)
        except (StoppedWorkError, DeviceLostError):
            raise
        except Exception as error:  # noqa: BLE001 - one video's failure must not end the run
            return EncodeOutcome(unicode_name(task), error=describe(error))
        duration = round(encoded.duration, 3)
        warnings = tuple(map(unicode_name, encoded.warnings))
        return EncodeOutcome(unicode_name(task), len(encoded), duration, cached, warnings)

    def give_up(self, task: str, error: ClusterError) -> EncodeOutcome:
        """What became of a video that ended every worker."""
        return EncodeOutcome(unicode_name(task), error=describe(error))


def encode_videos(
    localizer: Localizer,
    videos: list[str],
    options: PipelineOptions,
    *,
    progress: Progress | None = None,
    stop: Callable[[], bool] | None = None,
) -> Generator[EncodeOutcome, None, None]:
    """Encode videos into the pipeline's cache.

    Args:
        localizer: What encodes.
        videos: Paths; what is no regular file cannot be kept, and fails.
        options: How the work is spread; holds the cache.
        progress: Told how far each reading has come.
        stop: Asked before each video; once it says True no more are begun.

    Yields:
        What became of each video, as it comes.
    """
    from vtloc_runtime.batch.worker_pool import run_lanes
    from vtloc_runtime.localize.feature_cache import FeatureCache

    work = EncodeVideos(options.cache or FeatureCache())
    return run_lanes(
        lambda video, read: work.do(localizer, video, read, progress=progress, stop=stop),
        videos,
        options,
        stop=stop,
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
