"""Export of one network in one precision, checked against the PyTorch module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from torch import nn

from vtloc_export.graph.compact_weights import compact_graph
from vtloc_export.graph.external_weights import WrittenGraph, write_graph
from vtloc_export.graph.tracing import export_graph, typed_network
from vtloc_export.parity.comparison import (
    SMALL,
    Evaluate,
    OutputParity,
    check,
    compare,
    onnxruntime_evaluate,
    range_calls,
    reference_evaluate,
    remembered,
    torch_evaluate,
)
from vtloc_export.parity.probes import probes
from vtloc_export.precision.graph_check import check_half_precision
from vtloc_export.precision.island_search import within_range
from vtloc_export.precision.policy import POLICIES

if TYPE_CHECKING:
    from pathlib import Path

    from onnx import ModelProto

    from vtloc_export.precision.activation_ranges import LayerRange
    from vtloc_export.precision.typed_network import TypedNetwork
    from vtloc_export.signatures import Precision
    from vtloc_runtime.bundle.manifest import NetworkName

_REFERENCE_PARAMETERS = {"visual": 30_000_000, "text": 100_000_000}
"""Largest encoders, without their embeddings, for ONNX's own evaluator, whose half precision is
true and very slow."""
_RANGES_KEPT = 5


@dataclass(frozen=True, slots=True)
class ExportedNetwork:
    """One network in one precision.

    Attributes:
        network: Which network.
        precision: In what precision.
        files: Its ONNX file, and the file beside it where that is too small.
        parity: Its outputs against PyTorch in FP32.
        ranges: The largest activations, in half precision only.
        islands: Modules that stay in FP32, in half precision only.
    """

    network: NetworkName
    precision: Precision
    files: WrittenGraph
    parity: tuple[OutputParity, ...]
    ranges: tuple[LayerRange, ...] = ()
    islands: tuple[str, ...] = ()


def export_network(
    network: NetworkName,
    module: nn.Module,
    widths: Mapping[str, int],
    precision: Precision,
    folder: Path,
    *,
    graph: ModelProto | None = None,
    spared: Sequence[str] = (),
    reference: Evaluate | None = None,
) -> ExportedNetwork:
    """Export one network in one precision into a folder, and check it.

    Args:
        network: Which network the module is.
        module: The PyTorch module.
        widths: Lengths of its fixed axes, by name.
        precision: What to export.
        folder: Where its files are made.
        graph: Its FP32 graph, where there is one already.
        spared: Modules that compute in FP32 altogether where the precision is ``fp16``; those
            that half precision cannot hold are added.
        reference: Runs the module in FP32; by default once for every input.

    Raises:
        ExportError: It cannot be exported in that precision.
        ParityError: Its outputs differ from PyTorch's by more than the tolerance.
    """
    reference = reference or remembered(torch_evaluate(module, network))
    if precision == "fp16":
        return _export_half(network, module, widths, folder, spared=spared, reference=reference)
    plain = graph or export_graph(typed_network(network, module), network, widths)
    model = compact_graph(plain, network) if precision == "compact" else plain
    files = write_graph(model, folder / file_name(network, precision))
    del plain, model  # ONNX Runtime is about to hold the weights once more.
    parity = compare(network, _written(files), reference, probes(network, widths))
    check(parity, network=network, precision=precision, against="ONNX Runtime")
    return ExportedNetwork(network, precision, files, parity)


def file_name(network: NetworkName, precision: Precision) -> str:
    """The name of a network's ONNX file in a bundle."""
    return f"{network}.{precision}.onnx"


def runs_in_reference(network: NetworkName, module: nn.Module) -> bool:
    """Whether ONNX's own evaluator can run the network in reasonable time."""
    embeddings = (one for one in module.modules() if isinstance(one, nn.Embedding))
    parameters = sum(parameter.numel() for parameter in module.parameters())
    parameters -= sum(one.weight.numel() for one in embeddings)
    return parameters <= _REFERENCE_PARAMETERS.get(network, parameters)


def _export_half(
    network: NetworkName,
    module: nn.Module,
    widths: Mapping[str, int],
    folder: Path,
    *,
    spared: Sequence[str],
    reference: Evaluate,
) -> ExportedNetwork:
    typed, ranges, islands = within_range(
        partial(_half, network, module),
        lambda: range_calls(network, widths),
        network=network,
        spared=spared,
    )
    model = export_graph(typed, network, widths)
    check_half_precision(model, POLICIES[network].sparing(islands))
    parity = compare(network, torch_evaluate(typed, network), reference, probes(network, widths))
    check(parity, network=network, precision="fp16", against="PyTorch in half precision")
    if runs_in_reference(network, module):
        tried = probes(network, widths, SMALL[network])
        rounded = compare(network, reference_evaluate(model), reference, tried)
        check(rounded, network=network, precision="fp16", against="ONNX's evaluator")
    files = write_graph(model, folder / file_name(network, "fp16"))
    del typed, model  # ONNX Runtime is about to hold the weights in FP32.
    # ONNX Runtime computes FP16 in FP32 on a CPU: it proves the graph's shapes, and no more.
    shapes = compare(network, _written(files, half=True), reference, probes(network, widths))
    check(shapes, network=network, precision="fp16", against="ONNX Runtime")
    return ExportedNetwork(network, "fp16", files, parity, ranges[:_RANGES_KEPT], islands)


def _written(files: WrittenGraph, *, half: bool = False) -> Evaluate:
    """Runs a graph from the files that were just written."""
    files.opened()  # Refuses what the runtime would refuse, and is not kept.
    return onnxruntime_evaluate(files.path, half=half)


def _half(network: NetworkName, module: nn.Module, spared: Sequence[str]) -> TypedNetwork:
    return typed_network(network, module, half=True, spared=spared)
