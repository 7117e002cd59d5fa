"""Options that several commands share, and the localizer and pipeline that they ask for."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from vtloc_runtime.errors import OutputError

if TYPE_CHECKING:
    from vtloc_runtime.batch.worker_pool import PipelineOptions
    from vtloc_runtime.bundle.bundle import Bundle
    from vtloc_runtime.localize.feature_cache import FeatureCache
    from vtloc_runtime.localize.localizer import Localizer
    from vtloc_runtime.video.isolation.limits import DecoderLimits

_GIBIBYTE = 2**30


def _bundle_folder(named: Path | None) -> Path | None:
    """A bundle's folder, also where its manifest was named."""
    if named is not None and named.name == "bundle.json" and os.path.isfile(named):
        return named.parent
    return named


BundleOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--bundle",
        "-b",
        callback=_bundle_folder,
        help="A bundle; without it the one that ships with vtloc.",
    ),
]
BundleDigestOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--bundle-digest",
        envvar="VTLOC_BUNDLE_DIGEST",
        metavar="sha256:...",
        help="Refuse a bundle of another digest; vtloc-run doctor prints a bundle's own.",
    ),
]
BackendOption: TypeAlias = Annotated[
    str, typer.Option("--backend", help="onnxruntime or tensorrt.")
]
DeviceOption: TypeAlias = Annotated[
    str | None, typer.Option("--device", help="cpu, cuda, cuda:N, or several GPUs: cuda:0,cuda:1.")
]
PrecisionOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--precision", help="fp32, fp16, int8 or compact; the device's best without it."),
]
ThreadsOption: TypeAlias = Annotated[
    int | None,
    typer.Option("--threads", min=1, help="Processor threads of one run of a network."),
]
BatchOption: TypeAlias = Annotated[
    int | None, typer.Option("--batch", min=1, help="Frames encoded at once at most.")
]
WorkersOption: TypeAlias = Annotated[
    int | None,
    typer.Option("--workers", min=1, help="Videos under way at once; one a processor without it."),
]
ReuseOption: TypeAlias = Annotated[
    float,
    typer.Option(
        "--reuse",
        min=0.0,
        max=255.0,
        help="Most grey levels by which frames may differ and still share features, where the "
        "video is that noisy; 0 is --exact.",
    ),
]
ExactOption: TypeAlias = Annotated[
    bool,
    typer.Option("--exact", help="Encode every frame that is not equal to the one before it."),
]
CacheSizeOption: TypeAlias = Annotated[
    float, typer.Option("--cache-size", min=0.0, help="Most that the cache may hold, GiB.")
]
DecoderOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--decoder",
        help="What decodes videos: cpu; nvdec, nvdec:N for an NVIDIA GPU, which gives the same "
        "frames or refuses the video (--decoder-memory is then unused); or auto: NVDEC where it "
        "answers and every processor beside it, which also take what NVDEC refuses.",
    ),
]
DecoderMemoryOption: TypeAlias = Annotated[
    float,
    typer.Option(
        "--decoder-memory", min=0.0, help="Most memory for decoding one video, GiB; 0: no limit."
    ),
]
DecoderTimeoutOption: TypeAlias = Annotated[
    float,
    typer.Option("--decoder-timeout", min=0.1, help="Seconds to wait for a video's next frame."),
]
VideoTimeoutOption: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--video-timeout", min=0.1, help="Most seconds for reading one video; without it no limit."
    ),
]
MaxDurationOption: TypeAlias = Annotated[
    float,
    typer.Option("--max-duration", min=0.001, help="Longest video that is read, seconds."),
]
RequireSandboxOption: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--require-sandbox",
        help="Refuse to work where a layer of the decoders' sandbox is missing; doctor names them.",
    ),
]
VideosOption: TypeAlias = Annotated[
    Path | None,
    typer.Option("--videos", help="Where the videos of a benchmark's annotations lie."),
]
FpsOption: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--fps",
        help="Frames looked at a second; more find shorter moments. The bundle's own without it.",
    ),
]
QuietOption: TypeAlias = Annotated[
    bool, typer.Option("--quiet", help="No progress and no closing line.")
]


RayOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Spread the videos over a Ray cluster: HOST:PORT, auto for the one that runs here, "
        "local for one on this machine. --workers and --threads then speak of each worker.",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingOptions:
    """How to run the networks and spread the work; the fields are the options' names."""

    bundle: Path | None
    backend: str
    device: str | None
    precision: str | None
    threads: int | None
    batch: int | None
    workers: int | None
    reuse: float
    cache: bool
    cache_size: float
    decoder_memory: float
    decoder_timeout: float
    decoding: str | None = None
    fps: float | None = None
    decoder: str = "cpu"
    bundle_digest: str | None = None
    video_timeout: float | None = None
    max_duration: float = 86_400.0
    require_sandbox: bool = False

    @property
    def decoder_limits(self) -> DecoderLimits:
        """How far decoders may go."""
        from vtloc_runtime.video.isolation.limits import DecoderLimits

        # CUDA reserves more address space than any limit that would mean something; lanes that
        # decode on a GPU beside processors go without.
        limited = self.decoder in {"cpu", "auto"}
        memory = int(self.decoder_memory * _GIBIBYTE) if limited else 0
        return DecoderLimits(
            memory=memory,
            timeout=self.decoder_timeout,
            video_timeout=self.video_timeout,
            max_duration=self.max_duration,
            require_sandbox=self.require_sandbox,
        )

    def open_bundle(self) -> Bundle:
        """The bundle, set to look at as many frames a second as was asked for.

        Raises:
            BundleError: It cannot be opened.
            UsageError: Videos cannot be looked at so often.
        """
        from vtloc_runtime.bundle.bundle import Bundle

        return Bundle.open(self.bundle, digest=self.bundle_digest).sampled_at(self.fps)

    def pipeline(self, *, in_order: bool) -> PipelineOptions:
        """How the work is to be spread.

        Raises:
            OutputError: The cache cannot be made.
            BackendError: The sandbox that was required is not complete here.
        """
        from vtloc_runtime.batch.worker_pool import PipelineOptions
        from vtloc_runtime.video.isolation.decoder_process import DecoderProcess

        if self.require_sandbox:
            with DecoderProcess(self.decoder_limits) as decoder:
                decoder.start(gpu=self.decoder != "cpu")
        return PipelineOptions(
            lanes=self.workers,
            limits=self.decoder_limits,
            in_order=in_order,
            cache=self._open_cache() if self.cache else None,
            decoder=self.decoder,
            device=self.device or ("cuda" if self.backend == "tensorrt" else None),
        )

    def _open_cache(self) -> FeatureCache | None:
        """Open the cache; where nobody named its folder, a run goes on without it.

        Raises:
            OutputError: The folder that was named cannot be made.
        """
        from vtloc_runtime.cli.terminal import print_line
        from vtloc_runtime.localize.feature_cache import FOLDER_VARIABLE, FeatureCache

        try:
            return FeatureCache(
                bound=int(self.cache_size * _GIBIBYTE), timeout=self.decoder_timeout
            )
        except OutputError as error:
            if os.environ.get(FOLDER_VARIABLE):
                raise
            print_line(f"vtloc-run: warning: working without a cache: {error}")
            return None

    def open_localizer(self, bundle: Bundle, *, lanes: int) -> Localizer:
        """Open the localizer, with as many threads a run as the lanes leave to each.

        Raises:
            VtlocError: The backend, the device, the precision or the bundle cannot serve.
        """
        from vtloc_runtime.localize.localizer import Localizer
        from vtloc_runtime.system.processors import available_processors

        threads = self.threads or max(1, available_processors() // lanes)
        return Localizer.open(bundle, **self.localizer_options(threads))

    def localizer_options(self, threads: int) -> dict[str, Any]:
        """The options of ``Localizer.open``, for a localizer whose runs take so many threads."""
        return {
            "backend": self.backend,
            "device": self.device,
            "precision": self.precision,
            "threads": threads,
            "batch": self.batch,
            "reuse": self.reuse,
            "decoding": self.decoding,
            "fps": self.fps,
            # Lanes choose for themselves.
            "decoder": "cpu" if self.decoder == "auto" else self.decoder,
        }
