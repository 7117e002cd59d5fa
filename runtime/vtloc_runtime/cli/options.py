"""The options that several commands share, each listed once, and what they open."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.bundle.bundle_names import find_bundle
from vtloc_runtime.bundle.manifest import MANIFEST_NAME
from vtloc_runtime.cli.console.terminal import print_note
from vtloc_runtime.errors import BundleError, OutputError
from vtloc_runtime.localize.encoding.frame_dedup import DEFAULT_REUSE
from vtloc_runtime.localize.limits import LARGEST_BATCH, MOST_MOMENTS, MOST_THREADS
from vtloc_runtime.system.cache_folder import DEFAULT_CACHE_BYTES, FOLDER_VARIABLE
from vtloc_runtime.system.processors import MOST_WORKERS
from vtloc_runtime.video.isolation.limits import LONGEST, DecoderLimits

if TYPE_CHECKING:
    from vtloc_runtime.batch.run import LocalRun, Progress, VideoWork
    from vtloc_runtime.batch.workers.worker_pool import PipelineOptions
    from vtloc_runtime.cluster.launch import ClusterRun
    from vtloc_runtime.localize.encoding.feature_cache import FeatureCache

_Task = TypeVar("_Task")
_Answer = TypeVar("_Answer")

_GIBIBYTE = 2**30
MOST_GIBIBYTES = 1e6
"""Largest size of a cache, or of a process, that can be asked for."""
_LIMITS = DecoderLimits()


def _bundle_folder(path: Path | None) -> Path | None:
    """The bundle's folder, even if its manifest or the bundle's name was given."""
    if path is None:
        return None
    # A bundle that is not there is reported where it is opened.
    with contextlib.suppress(BundleError):
        path = find_bundle(path)
    if path.name == MANIFEST_NAME and os.path.isfile(path):
        return path.parent
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleOptions:
    """Which bundle to use."""

    bundle: Annotated[
        Path | None,
        typer.Option(
            "--bundle",
            "-b",
            callback=_bundle_folder,
            help="The bundle's folder, or a name that vtloc-run bundles lists. Default: the bundle "
            "that ships with vtloc.",
        ),
    ] = None
    bundle_digest: Annotated[
        str | None,
        typer.Option(
            envvar="VTLOC_BUNDLE_DIGEST",
            metavar="sha256:...",
            help="Refuse a bundle with another digest. vtloc-run doctor prints digests.",
        ),
    ] = None

    def open_bundle(self) -> Bundle:
        """Open the bundle.

        Raises:
            BundleError: It is missing, invalid, or has another digest.
        """
        return Bundle.open(self.bundle, digest=self.bundle_digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionOptions:
    """What to look for, and how to print what is found."""

    query: Annotated[
        list[str] | None, typer.Option("--query", "-q", help="Sentence to find; repeatable.")
    ] = None
    rewrite: Annotated[
        list[str] | None,
        typer.Option(
            "--rewrite",
            metavar="SENTENCE",
            help="Another wording of the one sentence; repeatable. Wordings are averaged.",
        ),
    ] = None
    like: Annotated[
        list[str] | None,
        typer.Option(
            "--like",
            metavar="PICTURE",
            help="Find moments like this picture; with -q, those that fit the sentence as well. "
            "Several pictures are averaged.",
        ),
    ] = None
    moments: Annotated[
        int,
        typer.Option(
            "--moments",
            "-k",
            min=1,
            max=MOST_MOMENTS,
            help="Maximum number of moments per film and sentence.",
        ),
    ] = 1
    json: Annotated[bool, typer.Option("--json", help="Print JSON lines, even on a terminal.")] = (
        False
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkOptions(BundleOptions):
    """How to run the bundle's networks."""

    backend: Annotated[str, typer.Option(help="onnxruntime or tensorrt.")] = "onnxruntime"
    device: Annotated[
        str | None,
        typer.Option(help="cpu, cuda, cuda:N, or several GPUs: cuda:0,cuda:1."),
    ] = None
    precision: Annotated[
        str | None,
        typer.Option(help="fp32, fp16, int8 or compact. Default: the best for the device."),
    ] = None
    threads: Annotated[
        int | None,
        typer.Option(min=1, max=MOST_THREADS, help="CPU threads for one run of a network."),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions(NetworkOptions):
    """How to process many videos."""

    batch: Annotated[
        int | None,
        typer.Option(min=1, max=LARGEST_BATCH, help="Maximum number of frames encoded together."),
    ] = None
    fps: Annotated[
        float | None,
        typer.Option(
            help="Frames to look at per second of video; more find shorter moments. Default: as "
            "the bundle says."
        ),
    ] = None
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MOST_WORKERS,
            help="Videos processed in parallel. Default: one per processor.",
        ),
    ] = None
    reuse: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=255.0,
            help="Maximum difference, in grey levels, of frames that share features. The video's "
            "noise can lower it.",
        ),
    ] = DEFAULT_REUSE
    exact: Annotated[
        bool, typer.Option("--exact", help="Share features among identical frames only.")
    ] = False
    cache_size: Annotated[
        float,
        typer.Option(min=0.0, max=MOST_GIBIBYTES, help="Maximum size of the feature cache, GiB."),
    ] = DEFAULT_CACHE_BYTES / _GIBIBYTE
    decoder: Annotated[
        str,
        typer.Option(
            help="Video decoder: cpu; nvdec or nvdec:N for an NVIDIA GPU; or auto: NVDEC if it is "
            "available, and all processors. NVDEC gives the same frames or refuses the video, "
            "which auto then decodes on the CPU. --decoder-memory does not apply to NVDEC."
        ),
    ] = "cpu"
    decoder_memory: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=MOST_GIBIBYTES,
            help="Memory limit for decoding one video, GiB; 0 is unlimited.",
        ),
    ] = _LIMITS.memory / _GIBIBYTE
    decoder_timeout: Annotated[
        float,
        typer.Option(
            min=0.1, max=LONGEST, help="Maximum time to wait for a video's next frame, seconds."
        ),
    ] = _LIMITS.timeout
    video_timeout: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            max=LONGEST,
            help="Maximum time to read one video, seconds. Default: unlimited.",
        ),
    ] = _LIMITS.video_timeout
    max_duration: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            max=LONGEST,
            help="Refuse videos longer than this, seconds. Default: 24 hours.",
        ),
    ] = _LIMITS.max_duration
    require_sandbox: Annotated[
        bool,
        typer.Option(
            "--require-sandbox",
            help="Fail if a layer of the decoder's sandbox is missing. vtloc-run doctor lists "
            "them.",
        ),
    ] = _LIMITS.require_sandbox
    videos_folder: Annotated[
        Path | None,
        typer.Option("--videos", help="Folder with the videos of a benchmark's annotations."),
    ] = None
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Process the videos on a Ray cluster: HOST:PORT, auto (the one running here), or "
            "local (start one). --workers and --threads then apply to each Ray worker.",
        ),
    ] = None
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress and no summary.")] = False

    def note(self, text: str) -> None:
        """Show people a line, unless the run is quiet."""
        if not self.quiet:
            print_note(text)

    def open_bundle(self) -> Bundle:
        """Open the bundle, with the frame rate that was asked for.

        Raises:
            BundleError: It is missing, invalid, or has another digest.
            UsageError: The frame rate is out of range.
        """
        return Bundle.open(self.bundle, digest=self.bundle_digest).sampled_at(self.fps)

    @property
    def frame_reuse(self) -> float:
        """Most grey levels by which frames that share features may differ."""
        return 0.0 if self.exact else self.reuse

    @property
    def decoder_limits(self) -> DecoderLimits:
        """Limits of each decoder process."""
        # CUDA reserves more address space than any useful limit would allow.
        limited = self.decoder in {"cpu", "auto"}
        memory = int(self.decoder_memory * _GIBIBYTE) if limited else 0
        return DecoderLimits(
            memory=memory,
            timeout=self.decoder_timeout,
            video_timeout=self.video_timeout,
            max_duration=self.max_duration,
            require_sandbox=self.require_sandbox,
        )

    def pipeline(self, *, in_order: bool = False, cache: bool = True) -> PipelineOptions:
        """How the videos are processed.

        Args:
            in_order: Return results in the order of the videos.
            cache: Whether to use the feature cache.

        Raises:
            OutputError: The cache's folder cannot be made.
            BackendError: The sandbox is required, and not complete.
        """
        # Imported here and below, so that help does not load the packages of decoders and networks.
        from vtloc_runtime.batch.workers.worker_pool import PipelineOptions

        if self.require_sandbox:
            from vtloc_runtime.video.isolation.decoder_process import DecoderProcess

            with DecoderProcess(self.decoder_limits) as decoder:
                decoder.start(gpu=self.decoder != "cpu")
        return PipelineOptions(
            workers=self.workers,
            limits=self.decoder_limits,
            in_order=in_order,
            cache=self.open_cache() if cache else None,
            decoder=self.decoder,
            device=self.device or ("cuda" if self.backend == "tensorrt" else None),
        )

    def open_cache(self) -> FeatureCache | None:
        """Open the cache; None if it cannot be made and nobody named its folder.

        Raises:
            OutputError: The folder that was named cannot be made.
        """
        from vtloc_runtime.localize.encoding.feature_cache import FeatureCache

        try:
            return FeatureCache(
                bound=int(self.cache_size * _GIBIBYTE), timeout=self.decoder_timeout
            )
        except OutputError as error:
            if os.environ.get(FOLDER_VARIABLE):
                raise
            print_note(f"warning: no feature cache: {error}")
            return None

    def localizer_options(self, decoding: str | None = None) -> dict[str, Any]:
        """The options of ``Localizer.open``.

        Args:
            decoding: The decoding strategy; None takes the bundle's own.
        """
        return {
            "backend": self.backend,
            "device": self.device,
            "precision": self.precision,
            "threads": self.threads,
            "batch": self.batch,
            "reuse": self.frame_reuse,
            "decoding": decoding,
            "fps": self.fps,
            # With auto, each worker has its own.
            "decoder": "cpu" if self.decoder == "auto" else self.decoder,
        }

    def run(
        self,
        bundle: Bundle,
        tasks: Sequence[_Task],
        work: VideoWork[_Task, _Answer],
        *,
        pipeline: PipelineOptions,
        progress: Progress,
        decoding: str | None = None,
    ) -> LocalRun[_Task, _Answer] | ClusterRun[_Task, _Answer]:
        """Prepare a run, on this machine or on a cluster.

        Args:
            bundle: The bundle, opened.
            tasks: The tasks.
            work: What to do with each task.
            pipeline: How the tasks are processed.
            progress: Called with the progress of each video, on this machine.
            decoding: The decoding strategy; None takes the bundle's own.
        """
        localizer = self.localizer_options(decoding)
        if self.ray is None:
            from vtloc_runtime.batch.run import LocalRun
            from vtloc_runtime.batch.workers.worker_decoders import describe_decoders

            if self.decoder != "cpu":
                workers = pipeline.decoders()[: pipeline.workers_for(len(tasks))]
                self.note(f"decoding: {describe_decoders(workers)}")
            return LocalRun(
                bundle, tasks, work, localizer=localizer, options=pipeline, progress=progress
            )
        from vtloc_runtime.cluster.launch import ClusterRun

        return ClusterRun(self.ray, bundle, tasks, work, localizer=localizer, options=pipeline)
