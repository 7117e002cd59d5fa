"""Export of a localizer and its encoders into a bundle; it appears only if every check passes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from vtloc.encoders import TextEncoder, VisualEncoder, load_text_encoder, load_visual_encoder
from vtloc_export.errors import ExportError
from vtloc_export.graph.polygraphy_checks import lint
from vtloc_export.graph.tracing import export_graph, typed_network
from vtloc_export.manifest_writing import describe
from vtloc_export.network_export import ExportedNetwork, export_network, file_name, network_widths
from vtloc_export.options import ExportOptions
from vtloc_export.sources import LocalizerSource, load_source
from vtloc_export.staging import check_place, staged_bundle, write_manifest
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.bundle.manifest import MANIFEST_NAME, NETWORK_NAMES, NetworkName, TokenizerEntry
from vtloc_runtime.system.output_check import check_output

if TYPE_CHECKING:
    import torch
    from onnx import ModelProto

TOKENIZER_NAME = "tokenizer.json"


class ExportProgress(Protocol):
    """Receives the steps of an export."""

    def begin(self, steps: int) -> None:
        """The export starts; so many steps lie ahead."""

    def step(self, what: str) -> None:
        """A step starts."""


@dataclass(frozen=True, slots=True)
class ExportReport:
    """Result of an export.

    Attributes:
        bundle: The bundle.
        networks: Every network in every precision.
        sizes: Bytes of each file, by its name.
    """

    bundle: Bundle
    networks: tuple[ExportedNetwork, ...]
    sizes: Mapping[str, int] = field(default_factory=dict)


def export_bundle(
    source: str | Path,
    out: str | Path,
    options: ExportOptions | None = None,
    progress: ExportProgress | None = None,
) -> ExportReport:
    """Export a localizer with its encoders; a failed check leaves no bundle behind.

    Args:
        source: A checkpoint's file, or a bundle's directory to export again from.
        out: The directory to make.
        options: What to export.
        progress: Hears how many steps there are, and the name of each that starts.

    Raises:
        CheckpointError: The checkpoint is missing or damaged.
        BundleError: The source bundle is damaged or lacks the weights.
        EncoderError: An encoder cannot be loaded.
        ExportError: A network cannot be exported in a precision.
        ParityError: An export's answers differ from PyTorch's.
        OutputError: The bundle cannot be written, or would replace its source.
    """
    chosen = options or ExportOptions()
    progress = progress or _Silent()
    place = Path(out)
    if Path(source).is_file() or (Path(source) / MANIFEST_NAME).is_file():
        check_output(place, inputs=[("the source", source)])
    check_place(place, overwrite=chosen.overwrite)
    progress.begin(2 + 3 * len(chosen.precisions) + 1)
    progress.step("loading the localizer")
    localizer = load_source(Path(source))
    progress.step("loading the encoders")
    visual = load_visual_encoder(localizer.visual_encoder)
    text = load_text_encoder(localizer.text_encoder)
    _check_fit(localizer, visual, text)
    modules: dict[NetworkName, torch.nn.Module] = {
        "visual": visual,
        "text": text,
        "localizer": localizer.network,
    }
    widths = network_widths(localizer.network, visual, text)
    with staged_bundle(place, overwrite=chosen.overwrite) as folder:
        made: list[ExportedNetwork] = []
        for name in NETWORK_NAMES:
            made += _export(
                name,
                modules[name],
                widths=widths[name],
                spared=localizer.spared.get(name, ()),
                options=chosen,
                folder=folder,
                progress=progress,
            )
        progress.step("writing the bundle")
        tokenizer = text.tokenizer_json().encode()
        (folder / TOKENIZER_NAME).write_bytes(tokenizer)
        _write_reference(localizer, folder)
        entry = TokenizerEntry(
            file=TOKENIZER_NAME,
            sha256=hashlib.sha256(tokenizer).hexdigest(),
            max_tokens=text.max_tokens,
            pad_id=text.pad_id,
        )
        write_manifest(
            folder,
            describe(localizer, visual, made, widths=widths, tokenizer=entry, options=chosen),
        )
    bundle = Bundle.open(place)
    sizes = {file: bundle.resolve(file).stat().st_size for file in bundle.files()}
    return ExportReport(bundle, tuple(made), sizes)


def _export(
    network: NetworkName,
    module: torch.nn.Module,
    *,
    widths: Mapping[str, int],
    spared: Sequence[str],
    options: ExportOptions,
    folder: Path,
    progress: ExportProgress,
) -> list[ExportedNetwork]:
    graph: ModelProto | None = None
    made = []
    for precision in options.precisions:
        progress.step(f"{network} in {precision}")
        if precision != "fp16" and graph is None:
            graph = export_graph(typed_network(network, module), network, widths)
        exported = export_network(network, module, widths, precision, graph=graph, spared=spared)
        file = folder / file_name(network, precision)
        file.write_bytes(exported.files.content)
        if exported.files.external is not None:
            (folder / exported.files.location).write_bytes(exported.files.external)
        if options.lint and (wrong := lint(file)):
            raise ExportError(
                f"polygraphy check lint: {wrong[0]}", where=f"the {network} network in {precision}"
            )
        made.append(exported)
    return made


def _write_reference(localizer: LocalizerSource, folder: Path) -> None:
    """Copy the reference frames of a calibrated bundle."""
    calibration = localizer.score_calibration
    if localizer.reference is not None and calibration is not None and calibration.presence:
        (folder / calibration.presence.file).write_bytes(localizer.reference)


def _check_fit(localizer: LocalizerSource, visual: VisualEncoder, text: TextEncoder) -> None:
    config = localizer.network.config
    for what, wanted, name, given in (
        ("features", config.feature_dim, visual.name, visual.dimension),
        ("tokens", config.token_dim, text.name, text.token_dimension),
    ):
        if wanted != given:
            raise ExportError(
                f"the localizer reads {what} of width {wanted}, {name} gives {given}",
                where=localizer.name,
                remedy="Train it on this encoder, or name the one that it was trained on",
            )


class _Silent:
    """Progress that nobody follows."""

    def begin(self, steps: int) -> None:
        """Ignore it."""

    def step(self, what: str) -> None:
        """Ignore it."""
