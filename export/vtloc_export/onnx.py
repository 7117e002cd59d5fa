"""A localizer and its encoders become a bundle: exported, checked, and only then put in place."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from vtloc.encoders import TextEncoder, VisualEncoder, load_text_encoder, load_visual_encoder
from vtloc_export.checks import (
    SMALL,
    OutputParity,
    check,
    compare,
    onnxruntime_evaluate,
    range_calls,
    reference_evaluate,
    torch_evaluate,
)
from vtloc_export.compact import compact_graph
from vtloc_export.graph_types import check_half_precision
from vtloc_export.graphs import export_graph, typed_network
from vtloc_export.inspection import lint
from vtloc_export.packaging import check_place, staged_bundle, write_manifest
from vtloc_export.precision import POLICIES
from vtloc_export.probes import probes
from vtloc_export.ranges import LayerRange, activation_ranges, check_ranges
from vtloc_export.signatures import SIGNATURES, Precision
from vtloc_export.sources import LocalizerSource, load_source
from vtloc_runtime.bundle import Bundle
from vtloc_runtime.errors import ExportError
from vtloc_runtime.manifest import (
    NETWORK_NAMES,
    SCHEMA_VERSION,
    Manifest,
    NetworkEntry,
    NetworkFile,
    NetworkName,
    Provenance,
    SharedSpace,
    TokenizerEntry,
)

if TYPE_CHECKING:
    import torch
    from onnx import ModelProto

TOKENIZER_NAME = "tokenizer.json"
_REFERENCE_PARAMETERS = 30_000_000
"""Largest frame encoder for ONNX's own evaluator, whose half precision is true and very slow."""
_RANGES_KEPT = 5


class ExportProgress(Protocol):
    """Told what an export is doing."""

    def begin(self, steps: int) -> None:
        """The export starts; so many steps lie ahead."""

    def step(self, what: str) -> None:
        """A step starts."""


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What to export.

    Attributes:
        precisions: Which files each network comes in.
        overwrite: Whether a bundle at the same place is replaced.
        name: The bundle's name; None keeps the source's.
        license: The weights' licence; None keeps the source's.
        frames_per_second: How densely videos are sampled; None keeps the source's.
        lint: Whether Polygraphy lints every graph.
    """

    precisions: tuple[Precision, ...] = ("fp32",)
    overwrite: bool = False
    name: str | None = None
    license: str | None = None
    frames_per_second: float | None = None
    lint: bool = True


@dataclass(frozen=True, slots=True)
class ExportedNetwork:
    """One network in one precision.

    Attributes:
        network: Which network.
        precision: In what precision.
        content: The ONNX file's bytes.
        parity: Its outputs against PyTorch in FP32.
        ranges: The largest activations, in half precision only.
    """

    network: NetworkName
    precision: Precision
    content: bytes
    parity: tuple[OutputParity, ...]
    ranges: tuple[LayerRange, ...] = ()


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export made.

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
        progress: Told of every step.

    Raises:
        CheckpointError: The checkpoint is missing or damaged.
        BundleError: The source bundle is damaged or lacks the weights.
        EncoderError: An encoder cannot be loaded.
        ExportError: A network cannot be exported in a precision.
        ParityError: An export's answers differ from PyTorch's.
        OutputError: The bundle cannot be written.
    """
    chosen, told = options or ExportOptions(), progress or _Silent()
    place = Path(out)
    check_place(place, overwrite=chosen.overwrite)
    told.begin(2 + 3 * len(chosen.precisions) + 1)
    told.step("loading the localizer")
    localizer = load_source(Path(source))
    told.step("loading the encoders")
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
                options=chosen,
                folder=folder,
                progress=told,
            )
        told.step("writing the bundle")
        tokenizer = text.tokenizer_json().encode()
        (folder / TOKENIZER_NAME).write_bytes(tokenizer)
        entry = TokenizerEntry(
            file=TOKENIZER_NAME,
            sha256=hashlib.sha256(tokenizer).hexdigest(),
            max_tokens=text.max_tokens,
            pad_id=text.pad_id,
        )
        write_manifest(
            folder,
            _manifest(localizer, visual, made, widths=widths, tokenizer=entry, options=chosen),
        )
    bundle = Bundle.open(place)
    sizes = {file: bundle.resolve(file).stat().st_size for file in bundle.files()}
    return ExportReport(bundle, tuple(made), sizes)


def export_network(
    network: NetworkName,
    module: torch.nn.Module,
    widths: Mapping[str, int],
    precision: Precision,
    *,
    graph: ModelProto | None = None,
) -> ExportedNetwork:
    """Export one network in one precision and check it.

    Args:
        network: Which network the module is.
        module: The PyTorch module.
        widths: Lengths of its fixed axes, as ``network_widths`` gives them.
        precision: What to export.
        graph: Its FP32 graph, where there is one already.

    Raises:
        ExportError: It cannot be exported in that precision.
        ParityError: Its answers differ from PyTorch's.
    """
    reference = torch_evaluate(module, network)
    if precision == "fp16":
        return _export_half(network, module, widths)
    plain = graph or export_graph(typed_network(network, module), network, widths)
    model = compact_graph(plain, network) if precision == "compact" else plain
    content = _serialized(model, network)
    tried = probes(network, widths)
    parity = compare(network, onnxruntime_evaluate(content), reference, tried)
    check(parity, network=network, precision=precision, against="ONNX Runtime")
    return ExportedNetwork(network, precision, content, parity)


def network_widths(
    localizer: torch.nn.Module, visual: VisualEncoder, text: TextEncoder
) -> dict[NetworkName, dict[str, int]]:
    """The lengths of every network's fixed axes, by network and name."""
    vocabulary = json.loads(text.tokenizer_json())["model"]["vocab"]
    config: Any = localizer.config
    return {
        "visual": {"size": visual.preprocessing.size, "feature": visual.dimension},
        "text": {
            "token": text.token_dimension,
            "sentence": text.sentence_dimension,
            "max_tokens": text.max_tokens,
            "vocabulary": len(vocabulary),
        },
        "localizer": {
            "feature": visual.dimension,
            "token": text.token_dimension,
            "hidden": int(config.hidden_dim),
        },
    }


def runs_in_reference(network: NetworkName, module: torch.nn.Module) -> bool:
    """Whether ONNX's own evaluator gets through the network in reasonable time."""
    parameters = sum(parameter.numel() for parameter in module.parameters())
    return network != "visual" or parameters <= _REFERENCE_PARAMETERS


def _export(
    network: NetworkName,
    module: torch.nn.Module,
    *,
    widths: Mapping[str, int],
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
        exported = export_network(network, module, widths, precision, graph=graph)
        file = folder / _file_name(network, precision)
        file.write_bytes(exported.content)
        if options.lint and (wrong := lint(file)):
            raise ExportError(
                f"polygraphy check lint: {wrong[0]}", where=f"the {network} network in {precision}"
            )
        made.append(exported)
    return made


def _export_half(
    network: NetworkName, module: torch.nn.Module, widths: Mapping[str, int]
) -> ExportedNetwork:
    reference = torch_evaluate(module, network)
    typed = typed_network(network, module, half=True)
    ranges = activation_ranges(typed, range_calls(network, widths))
    check_ranges(ranges, network=network)
    model = export_graph(typed, network, widths)
    check_half_precision(model, POLICIES[network])
    content = _serialized(model, network)
    # ONNX Runtime computes FP16 in FP32 on a CPU: it proves the graph's shapes, and no more.
    shapes = compare(
        network, onnxruntime_evaluate(content, half=True), reference, probes(network, widths)
    )
    check(shapes, network=network, precision="fp16", against="ONNX Runtime")
    parity = compare(network, torch_evaluate(typed, network), reference, probes(network, widths))
    check(parity, network=network, precision="fp16", against="PyTorch in half precision")
    if runs_in_reference(network, module):
        tried = probes(network, widths, SMALL[network])
        rounded = compare(network, reference_evaluate(model), reference, tried)
        check(rounded, network=network, precision="fp16", against="ONNX's evaluator")
    return ExportedNetwork(network, "fp16", content, parity, ranges[:_RANGES_KEPT])


def _serialized(model: ModelProto, network: NetworkName) -> bytes:
    try:
        content: bytes = model.SerializeToString()
    except ValueError as error:
        raise ExportError(
            "the graph is larger than the 2 GiB that one ONNX file may hold",
            where=f"the {network} network",
            remedy="Export it in fp16 only, or take a smaller encoder",
        ) from error
    return content


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


def _manifest(
    source: LocalizerSource,
    visual: VisualEncoder,
    made: Sequence[ExportedNetwork],
    *,
    widths: Mapping[NetworkName, Mapping[str, int]],
    tokenizer: TokenizerEntry,
    options: ExportOptions,
) -> Manifest:
    config = source.network.config
    provenance = Provenance(
        created_by=f"vtloc-export {_version()}",
        visual_encoder=source.visual_encoder,
        text_encoder=source.text_encoder,
        checkpoint_sha256=source.checkpoint_sha256,
        training_data=source.training_data,
        localizer=config.to_json(),
        accuracy=dict(source.accuracy),
        parity=_measured(made),
    )
    return Manifest(
        schema=SCHEMA_VERSION,
        name=options.name or source.name,
        networks={name: _network_entry(name, made, widths[name]) for name in NETWORK_NAMES},
        tokenizer=tokenizer,
        preprocessing=visual.preprocessing,
        frames_per_second=options.frames_per_second or source.frames_per_second,
        routing_iterations=config.routing_iterations,
        shared_space=_shared_space(visual, widths),
        decoding=source.decoding,
        windows=source.windows,
        score_calibration=source.score_calibration,
        license=options.license or source.license,
        provenance=provenance,
    )


def _shared_space(
    visual: VisualEncoder, widths: Mapping[NetworkName, Mapping[str, int]]
) -> SharedSpace | None:
    # Frames of one family and sentences of another have no space in common, unless by width the
    # sentences are the very ones that the frames were laid beside.
    shared = visual.shared_space
    fits = shared is not None and shared.stop - shared.start == widths["text"]["sentence"]
    return shared if fits else None


def _network_entry(
    network: NetworkName, made: Sequence[ExportedNetwork], widths: Mapping[str, int]
) -> NetworkEntry:
    signature = SIGNATURES[network]
    variants: dict[str, NetworkFile] = {
        item.precision: NetworkFile(
            file=_file_name(network, item.precision),
            sha256=hashlib.sha256(item.content).hexdigest(),
            inputs=tuple(tensor.entry(widths, item.precision) for tensor in signature.inputs),
            outputs=tuple(tensor.entry(widths, item.precision) for tensor in signature.outputs),
        )
        for item in made
        if item.network == network
    }
    named = ("feature", "token", "sentence", "hidden")
    dims = {name: widths[name] for name in named if name in widths}
    return NetworkEntry(dims=dims, variants=variants)


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


def _file_name(network: NetworkName, precision: Precision) -> str:
    return f"{network}.{precision}.onnx"


def _version() -> str:
    try:
        return version("vtloc")
    except PackageNotFoundError:
        return "from source"


class _Silent:
    def begin(self, steps: int) -> None:
        """Nobody is told."""

    def step(self, what: str) -> None:
        """Nobody is told."""
