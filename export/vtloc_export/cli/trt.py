"""``vtloc-export trt``: the command line of engine building."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer
from rich.console import Console
from rich.table import Table

from vtloc_export.cli.onnx import progress_bar
from vtloc_export.engines.build import EngineOptions, EngineReport, build_engines
from vtloc_export.engines.half_networks import networks_for_tensorrt
from vtloc_export.engines.profiles import Traffic, default_traffic, parse_range, parse_traffic
from vtloc_export.engines.progress import RichProgress
from vtloc_export.engines.target import BackendChoice
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.bundle.engine_file import EngineSettings
from vtloc_runtime.errors import UsageError
from vtloc_runtime.networks.tensorrt.engine_choice import RTX_CAPABILITIES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vtloc_runtime.bundle.manifest import NetworkName

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}


def trt_command(  # noqa: PLR0917 - the parameters of a command are its options
    bundle: Annotated[
        Path | None,
        typer.Argument(help="The bundle. Default: the one that ships with the project."),
    ] = None,
    target: Annotated[
        str, typer.Option(help="Compute capability (sm80 is A100), or local for this GPU.")
    ] = "local",
    precision: Annotated[str, typer.Option(help="Which precision of the networks.")] = "fp16",
    backend: Annotated[
        str, typer.Option(help="auto, tensorrt (on the GPU) or tensorrt-rtx (ahead of time).")
    ] = "auto",
    network: Annotated[
        list[str] | None, typer.Option(help="visual, text or localizer; repeatable. Default: all.")
    ] = None,
    batch: Annotated[
        str | None, typer.Option(help="Frames or sentences at once, MIN:OPT:MAX.")
    ] = None,
    frames: Annotated[str | None, typer.Option(help="Frames of a video, MIN:OPT:MAX.")] = None,
    tokens: Annotated[str | None, typer.Option(help="Tokens of a sentence, MIN:OPT:MAX.")] = None,
    profile: Annotated[
        list[str] | None,
        typer.Option(help="A whole profile, batch=1:8:32,frames=1:64:512; repeatable."),
    ] = None,
    workspace: Annotated[
        str | None, typer.Option(help="Maximum memory that a layer may use, such as 4G.")
    ] = None,
    optimization_level: Annotated[
        int, typer.Option(min=0, max=5, help="0 builds fast, 5 searches longest.")
    ] = 3,
    timing_cache: Annotated[
        Path | None, typer.Option(help="A file that keeps tactic timings between builds.")
    ] = None,
    frozen_timings: Annotated[
        bool,
        typer.Option("--frozen-timings", help="Take every timing from the cache, or fail."),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Rebuild engines that exist.")] = False,
) -> None:
    """Build TensorRT engines from a bundle's networks.

    A bundle without FP16 networks, such as the one that ships with the project, gets them first,
    in your cache folder; that takes minutes and needs PyTorch. Engines go into the bundle's
    engines/ folder, or into your cache folder where the bundle was installed with a package.

    Through TensorRT where a GPU of the target is at hand; ahead of time, with no GPU at all,
    through TensorRT-RTX, whose engines run on RTX GPUs alone: for A100 and H100 they are a
    compile check. An engine that was built already from the same files, for the same GPU and
    TensorRT, with the same settings, is kept.
    """
    asked = Bundle.open(bundle)
    named = _networks(network or (), asked)
    with progress_bar() as bar:
        ready = networks_for_tensorrt(asked, precision, bar)
    opened = ready.bundle
    if ready.seconds:
        text = f"{precision} networks made in {ready.seconds:.0f} s, in {opened.path}"
        Console(stderr=True).print(text, markup=False, highlight=False, soft_wrap=True)
    options = EngineOptions(
        target=target,
        backend=_backend(backend),
        precision=precision,
        networks=named,
        traffic=_traffic(opened, batch, frames, tokens, profile or ()),
        settings=EngineSettings(
            workspace=None if workspace is None else parse_bytes(workspace),
            optimization_level=optimization_level,
            frozen_timings=frozen_timings,
        ),
        timing_cache=timing_cache,
        force=force,
    )
    with RichProgress(Console(stderr=True)) as progress:
        reports = build_engines(opened, options, progress=progress)
    Console().print(engine_table(reports))


def parse_bytes(text: str) -> int:
    """A size such as ``4G``, ``512M`` or a plain number of bytes.

    Raises:
        UsageError: It is written otherwise.
    """
    match = re.fullmatch(r"(\d+)\s*([KMG]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if match is None or int(match[1]) == 0:
        raise UsageError(
            f"{text!r} is not a size", where="--workspace", remedy="Write a size such as 4G or 512M"
        )
    return int(match[1]) * _UNITS[match[2].upper()]


def engine_table(reports: Sequence[EngineReport]) -> Table:
    """What was built and what was found, for people."""
    table = Table(title="Engines", caption=_caption(reports))
    for column in ("network", "precision", "size", "build"):
        table.add_column(column, no_wrap=True)
    table.add_column("profiles")
    for report in reports:
        identity, sidecar = report.engine.identity, report.engine.sidecar
        table.add_row(
            identity.network,
            identity.precision,
            f"{sidecar.plan_bytes / 1e6:.1f} MB",
            f"{sidecar.build_seconds:.1f} s" if report.built else "found",
            "\n".join(
                ", ".join(f"{axis} {r.min}:{r.opt}:{r.max}" for axis, r in shape.items())
                for shape in identity.profiles
            ),
        )
    return table


def _caption(reports: Sequence[EngineReport]) -> str:
    engine = reports[0].engine
    identity = engine.identity
    made = (
        f"{identity.flavour} {identity.version} for {identity.target.gpu or identity.target.sm}, "
        f"in {engine.plan_path.parent}"
    )
    if identity.flavour == "tensorrt-rtx" and identity.target.sm not in RTX_CAPABILITIES:
        made += (
            f"\nCompiled ahead of time: a check that {identity.target.sm} can be built for. "
            "No runtime takes these engines on that GPU; build them there with --backend tensorrt"
        )
    return made


def _backend(name: str) -> BackendChoice:
    for known in get_args(BackendChoice):
        if name == known:
            choice: BackendChoice = known
            return choice
    raise UsageError(
        f"{name!r} builds no engines",
        where="--backend",
        remedy=f"Use one of {', '.join(get_args(BackendChoice))}",
    )


def _networks(names: Sequence[str], bundle: Bundle) -> tuple[NetworkName, ...]:
    own = bundle.manifest.network_names
    if unknown := set(names) - set(own):
        raise UsageError(
            f"the bundle has no network named {', '.join(sorted(unknown))}",
            where="--network",
            remedy=f"Its networks are: {', '.join(own)}",
        )
    return tuple(name for name in own if not names or name in names)


def _traffic(
    bundle: Bundle,
    batch: str | None,
    frames: str | None,
    tokens: str | None,
    profiles: Sequence[str],
) -> tuple[Traffic, ...]:
    if batch is frames is tokens is None and not profiles:
        return ()
    base = default_traffic(bundle)
    for axis, text in (("batch", batch), ("frames", frames), ("tokens", tokens)):
        if text is not None:
            base[axis] = parse_range(text, option=f"--{axis}")
    return tuple(parse_traffic(text, base) for text in profiles) or (base,)
