"""Export of encoders, and a localizer, into a bundle that appears only if every check passes."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from vtloc_export.errors import ExportError
from vtloc_export.graph.polygraphy_checks import lint
from vtloc_export.graph.tracing import export_graph, typed_network
from vtloc_export.manifest_writing import describe
from vtloc_export.network_export import ExportedNetwork, export_network
from vtloc_export.networks import load_networks
from vtloc_export.options import ExportOptions
from vtloc_export.parity.comparison import remembered, torch_evaluate
from vtloc_export.sentence_bank import write_sentence_bank
from vtloc_export.sources import EncoderPair, ExportSource, load_source
from vtloc_export.staging import staged_bundle, write_manifest
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.bundle.manifest import MANIFEST_NAME, NetworkName, TokenizerEntry
from vtloc_runtime.system.output_check import check_output

if TYPE_CHECKING:
    import torch
    from onnx import ModelProto

    from vtloc_export.networks import BundleNetworks
    from vtloc_runtime.bundle.manifest import SentenceBankEntry

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
        seconds: How long each step took, by its name.
    """

    bundle: Bundle
    networks: tuple[ExportedNetwork, ...]
    sizes: Mapping[str, int] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)


def export_bundle(
    source: str | Path | EncoderPair,
    out: str | Path,
    options: ExportOptions | None = None,
    progress: ExportProgress | None = None,
) -> ExportReport:
    """Export a localizer with its encoders, or encoders alone; a failed check leaves no bundle.

    Args:
        source: A checkpoint's file, a bundle's directory to export again from, or the names of
            encoders that share a space.
        out: The directory to make.
        options: What to export.
        progress: Hears how many steps there are, and the name of each that starts.

    Raises:
        CheckpointError: The checkpoint is missing or damaged.
        BundleError: The source bundle is damaged or lacks the weights.
        EncoderError: An encoder cannot be loaded.
        ExportError: A network cannot be exported in a precision, or encoders share no space.
        ParityError: An export's answers differ from PyTorch's.
        OutputError: The bundle cannot be written, or would replace its source.
    """
    chosen = options or ExportOptions()
    stages = _Stages(progress or _Silent())
    place = Path(out)
    given = source if isinstance(source, EncoderPair) else Path(source)
    if isinstance(given, Path) and (given.is_file() or (given / MANIFEST_NAME).is_file()):
        check_output(place, inputs=[("the source", given)])
    # The place first: whether it can be written shows before anything is downloaded.
    with staged_bundle(place, overwrite=chosen.overwrite) as folder:
        stages.step("loading the source")
        loaded = load_source(given)
        stages.step("loading the encoders")
        networks = load_networks(loaded)
        stages.begin(4 + len(networks.modules) * len(chosen.precisions))
        made: list[ExportedNetwork] = []
        for name, module in networks.modules.items():
            made += _export(
                name,
                module,
                widths=networks.widths[name],
                spared=loaded.spared.get(name, ()),
                options=chosen,
                folder=folder,
                progress=stages,
            )
        bank = loaded.sentence_bank
        if bank is None and networks.shared_space is not None:
            stages.step("encoding the sentence bank")
            bank = _write_sentence_bank(networks, folder)
        stages.step("writing the bundle")
        tokenizer = networks.text.tokenizer_json().encode()
        (folder / TOKENIZER_NAME).write_bytes(tokenizer)
        _write_kept(loaded, folder)
        entry = TokenizerEntry(
            file=TOKENIZER_NAME,
            sha256=hashlib.sha256(tokenizer).hexdigest(),
            max_tokens=networks.text.max_tokens,
            pad_id=networks.text.pad_id,
        )
        manifest = describe(
            loaded, networks, made, tokenizer=entry, sentence_bank=bank, options=chosen
        )
        write_manifest(folder, manifest)
    bundle = Bundle.open(place)
    sizes = {file: bundle.resolve(file).stat().st_size for file in bundle.files()}
    return ExportReport(bundle, tuple(made), sizes, stages.finish())


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
    reference = remembered(torch_evaluate(module, network))
    made: list[ExportedNetwork] = []
    plain = [precision for precision in options.precisions if precision != "fp16"]
    for precision in options.precisions:
        progress.step(f"{network} in {precision}")
        if precision != "fp16" and graph is None and len(plain) > 1:
            graph = export_graph(typed_network(network, module), network, widths)
        exported = export_network(
            network,
            module,
            widths,
            precision,
            folder,
            graph=graph,
            spared=spared,
            reference=reference,
        )
        # One lint a network: every precision has its operators, and takes some seconds.
        if options.lint and not made and (wrong := lint(exported.files.path)):
            raise ExportError(
                f"polygraphy check lint: {wrong[0]}", where=f"the {network} network in {precision}"
            )
        made.append(exported)
    return made


def _write_sentence_bank(networks: BundleNetworks, folder: Path) -> SentenceBankEntry:
    """Encode the bank of two encoders."""
    if networks.localizer is not None:
        # Trained boundaries go with plain cosines; labels tell what margin is enough.
        return write_sentence_bank(networks.text, folder, mean_weight=0.0, threshold=None)
    if networks.visual.name != networks.text.name:
        # The frames were laid into the sentences' own space: no gap lies between them.
        return write_sentence_bank(networks.text, folder, mean_weight=0.0)
    return write_sentence_bank(networks.text, folder)


def _write_kept(source: ExportSource, folder: Path) -> None:
    """Copy what an exported bundle compares sentences with."""
    for file, content in source.kept.items():
        place = folder / file
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)


class _Stages:
    """Passes progress on, and notes how long each step took."""

    def __init__(self, progress: ExportProgress) -> None:
        self._progress = progress
        self._seconds: dict[str, float] = {}
        self._current: tuple[str, float] | None = None

    def begin(self, steps: int) -> None:
        """So many steps there are in all."""
        self._progress.begin(steps)

    def step(self, what: str) -> None:
        """A step starts, and the one before it is over."""
        self.finish()
        self._current = (what, time.perf_counter())
        self._progress.step(what)

    def finish(self) -> Mapping[str, float]:
        """The last step is over; the seconds of each by its name."""
        if self._current is not None:
            what, began = self._current
            self._seconds[what] = time.perf_counter() - began
            self._current = None
        return self._seconds


class _Silent:
    """Progress that nobody follows."""

    def begin(self, steps: int) -> None:
        """Ignore it."""

    def step(self, what: str) -> None:
        """Ignore it."""
