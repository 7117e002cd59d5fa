"""``vtloc-run VIDEO... -q "sentence"``: the command line that finds moments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
from vtloc_runtime.cli.program import VersionOption, new_application
from vtloc_runtime.cli.search import SearchOptions, search
from vtloc_runtime.localize.frame_dedup import DEFAULT_REUSE

_EPILOG = """
Other commands: vtloc-run encode (encode videos ahead), vtloc-run doctor (what this machine can
run), vtloc-run bench (how fast).

Exit codes: 0 every sentence was answered; 1 some were not, the rest were; where all failed alike,
and for errors before the work: 2 usage, 3 video, 4 sentence, 5 bundle, 6 backend, 7 network,
8 output, 9 job list, 14 features, 16 engine, 17 missing package, 19 cluster; 70 a fault of vtloc
itself; 130 interrupted, 143 by SIGTERM; 141 the reader of the output has gone.
"""

app = new_application()


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
        bool, typer.Option("--overwrite", help="Replace the results in --out.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Do the jobs again that --out says failed.")
    ] = False,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Drop the damaged lines of --out; the old file is kept."),
    ] = False,
    moments: Annotated[
        int, typer.Option("--moments", "-k", min=1, help="Moments for each sentence at most.")
    ] = 1,
    bundle: BundleOption = None,
    bundle_digest: BundleDigestOption = None,
    backend: BackendOption = "onnxruntime",
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    decoding: Annotated[
        str | None,
        typer.Option(
            help="joint, argmax, soft, similarity or combined; the bundle's own without it."
        ),
    ] = None,
    fps: FpsOption = None,
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
    decoder_timeout: DecoderTimeoutOption = 120.0,
    video_timeout: VideoTimeoutOption = None,
    max_duration: MaxDurationOption = 86_400.0,
    require_sandbox: RequireSandboxOption = False,
    ray: RayOption = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON lines on a terminal too.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option("--report", help="Also write a page that shows the moments.")
    ] = None,
    quiet: QuietOption = False,
    version: VersionOption = False,  # noqa: ARG001 - its callback has done the work by now
) -> int:
    """Find the moments of videos that sentences describe.

    Prints a table on a terminal and JSON lines into a pipe or --out. One video's failure is a
    record; the others go on.
    """
    serving = ServingOptions(
        bundle=bundle,
        bundle_digest=bundle_digest,
        backend=backend,
        device=device,
        precision=precision,
        decoding=decoding,
        fps=fps,
        threads=threads,
        batch=batch,
        workers=workers,
        reuse=0.0 if exact else reuse,
        cache=cache,
        cache_size=cache_size,
        decoder=decoder,
        decoder_memory=decoder_memory,
        decoder_timeout=decoder_timeout,
        video_timeout=video_timeout,
        max_duration=max_duration,
        require_sandbox=require_sandbox,
    )
    options = SearchOptions(
        serving=serving,
        videos=videos_folder,
        out=out,
        overwrite=overwrite,
        retry_failed=retry_failed,
        repair=repair,
        moments=moments,
        always_answer=always_answer,
        in_order=in_order,
        ray=ray,
        json=json,
        report=report,
        quiet=quiet,
    )
    return search(videos, query or [], options)
