"""The manifest of an exported bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from vtloc_export.parity.bounds import promises
from vtloc_export.signatures import SIGNATURES
from vtloc_runtime import __version__
from vtloc_runtime.bundle.manifest import (
    SCHEMA_VERSION,
    Manifest,
    NetworkEntry,
    NetworkFile,
    NetworkName,
    Provenance,
    SentenceBankEntry,
    TokenizerEntry,
)

if TYPE_CHECKING:
    from vtloc_export.network_export import ExportedNetwork
    from vtloc_export.networks import BundleNetworks
    from vtloc_export.options import ExportOptions
    from vtloc_export.sources import ExportSource


def describe(
    source: ExportSource,
    networks: BundleNetworks,
    made: Sequence[ExportedNetwork],
    *,
    tokenizer: TokenizerEntry,
    sentence_bank: SentenceBankEntry | None,
    options: ExportOptions,
) -> Manifest:
    """The manifest of a bundle.

    Args:
        source: The metadata.
        networks: The networks in PyTorch.
        made: Every network in every precision.
        tokenizer: The tokenizer's entry.
        sentence_bank: The sentence bank's entry; None where the bundle has none.
        options: What the user asked for.
    """
    config = None if source.network is None else source.network.config
    widths = networks.widths
    provenance = Provenance(
        created_by=f"vtloc-export {__version__}",
        visual_encoder=source.visual_encoder,
        text_encoder=source.text_encoder,
        checkpoint_sha256=source.checkpoint_sha256,
        training_data=source.training_data,
        localizer={} if config is None else config.to_json(),
        accuracy=dict(source.accuracy),
        parity=_measured(made),
        bounds=promises(sorted({item.precision for item in made})),
        source_digest=options.source_digest,
    )
    return Manifest(
        schema=SCHEMA_VERSION,
        name=options.name or source.name,
        networks={
            name: _network_entry(name, made, widths[name], spared=source.spared.get(name, ()))
            for name in networks.modules
        },
        tokenizer=tokenizer,
        preprocessing=networks.visual.preprocessing,
        frames_per_second=options.frames_per_second or source.frames_per_second,
        routing_iterations=0 if config is None else config.routing_iterations,
        shared_space=networks.shared_space,
        decoding=source.decoding,
        windows=source.windows,
        score_calibration=source.score_calibration,
        license=options.license or source.license,
        provenance=provenance,
        sentence_bank=sentence_bank,
    )


def _network_entry(
    network: NetworkName,
    made: Sequence[ExportedNetwork],
    widths: Mapping[str, int],
    *,
    spared: tuple[str, ...],
) -> NetworkEntry:
    signature = SIGNATURES[network]
    variants: dict[str, NetworkFile] = {
        item.precision: NetworkFile(
            file=item.files.path.name,
            sha256=item.files.sha256,
            inputs=tuple(tensor.entry(widths, item.precision) for tensor in signature.inputs),
            outputs=tuple(tensor.entry(widths, item.precision) for tensor in signature.outputs),
            external=() if item.files.external is None else (item.files.external,),
        )
        for item in made
        if item.network == network
    }
    # What half precision could not hold was added to what calibration had chosen.
    spared = next((one.islands for one in made if one.network == network and one.islands), spared)
    named = ("feature", "token", "sentence", "hidden")
    dims = {name: widths[name] for name in named if name in widths}
    return NetworkEntry(dims=dims, variants=variants, islands={"fp16": spared} if spared else {})


def _measured(made: Sequence[ExportedNetwork]) -> dict[str, Any]:
    measured: dict[str, Any] = {}
    for item in made:
        tensors = {parity.output: asdict(parity.worst) for parity in item.parity}
        entry: dict[str, Any] = {"outputs": tensors}
        if item.ranges:
            entry["largest_activations"] = {
                layer.layer: round(layer.largest, 3) for layer in item.ranges
            }
        measured.setdefault(item.network, {})[item.precision] = entry
    return measured
