"""Compares the graph of a network with the PyTorch module that it came from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vtloc_export.errors import ExportError, ParityError
from vtloc_export.parity.measures import BOUNDS, Bound, Difference, difference, worst
from vtloc_export.parity.probes import RANGED, Lengths, Probe, probes
from vtloc_export.signatures import SIGNATURES, Precision, Signature
from vtloc_runtime.bundle.onnx_file import OnnxFile
from vtloc_runtime.errors import BundleError
from vtloc_runtime.networks.interface import Array
from vtloc_runtime.networks.onnxruntime_backend import open_session
from vtloc_runtime.networks.onnxruntime_package import import_onnxruntime
from vtloc_runtime.system.text import first_line

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from onnx import ModelProto

    from vtloc_runtime.bundle.manifest import NetworkName

Evaluate = Callable[[Mapping[str, Array]], dict[str, Array]]
"""Runs a network: inputs by name to outputs by name."""

PADDED_LOGIT = -1000.0
"""Every padding frame's logit lies below this: no moment can begin or end there."""

SMALL: Mapping[NetworkName, tuple[Lengths, ...]] = {
    "visual": (Lengths(1),),
    "text": (Lengths(1, tokens=4), Lengths(2, tokens=6, padded=True)),
    "localizer": (Lengths(1, frames=9, tokens=4), Lengths(2, frames=12, tokens=5, padded=True)),
}
"""Shapes small enough for the reference evaluator, which is true to half precision and slow."""


@dataclass(frozen=True, slots=True)
class OutputParity:
    """How an output compares with PyTorch in FP32 over all probes.

    Attributes:
        output: The output's name.
        worst: The worst of every measure.
        probes: How many calls it was measured on.
    """

    output: str
    worst: Difference
    probes: int


def torch_evaluate(module: torch.nn.Module, network: NetworkName) -> Evaluate:
    """Runs a PyTorch module: the network itself, or a typed one in its own precision."""
    import torch

    from vtloc_export.precision.typed_network import TypedNetwork

    signature = SIGNATURES[network]
    half = isinstance(module, TypedNetwork) and module.half_precision

    def evaluate(inputs: Mapping[str, Array]) -> dict[str, Array]:
        tensors = [_as_tensor(inputs[tensor.name], half=half) for tensor in signature.inputs]
        with torch.inference_mode():
            given = module(*tensors)
        outputs = (given,) if isinstance(given, torch.Tensor) else given
        names = (tensor.name for tensor in signature.outputs)
        return {name: output.numpy() for name, output in zip(names, outputs, strict=True)}

    return evaluate


def remembered(evaluate: Evaluate) -> Evaluate:
    """The same, with every call's outputs kept: each precision is tried on the same inputs."""
    kept: dict[tuple[bytes, ...], dict[str, Array]] = {}

    def recall(inputs: Mapping[str, Array]) -> dict[str, Array]:
        arrays = (np.ascontiguousarray(inputs[name]) for name in sorted(inputs))
        key = tuple(hashlib.sha256(f"{a.shape}".encode() + a.tobytes()).digest() for a in arrays)
        if key not in kept:
            kept[key] = evaluate(inputs)
        return kept[key]

    return recall


def onnxruntime_evaluate(model: OnnxFile | bytes | Path, *, half: bool = False) -> Evaluate:
    """Runs a graph with ONNX Runtime on the CPU, in a session like the runtime's.

    Args:
        model: The network. Bytes are an ONNX file that needs no other; a path is a file of one's
            own, read in a third of the memory.
        half: Give it its floating inputs in half precision.

    Raises:
        ExportError: ONNX Runtime does not take the graph.
        MissingExtraError: ONNX Runtime is not installed.
    """
    import_onnxruntime(extra="export", purpose="checking an export")
    file = OnnxFile(model) if isinstance(model, bytes) else model
    try:
        session = open_session(file, "cpu")
    except BundleError as error:
        raise ExportError(
            f"ONNX Runtime refuses the graph: {first_line(error.__cause__ or error)}"
        ) from error
    names = [output.name for output in session.get_outputs()]

    def evaluate(inputs: Mapping[str, Array]) -> dict[str, Array]:
        try:
            outputs = session.run(names, _in_precision(inputs, half=half))
        except Exception as error:
            raise ExportError(f"ONNX Runtime fails: {first_line(error)}") from error
        return dict(zip(names, outputs, strict=True))

    return evaluate


def reference_evaluate(model: ModelProto) -> Evaluate:
    """Runs a half-precision graph with ONNX's own evaluator, which rounds after every node."""
    from onnx.reference import ReferenceEvaluator

    evaluator: Any = ReferenceEvaluator(model)

    def evaluate(inputs: Mapping[str, Array]) -> dict[str, Array]:
        with np.errstate(all="ignore"):
            outputs = evaluator.run(None, _in_precision(inputs, half=True))
        return dict(zip(evaluator.output_names, outputs, strict=True))

    return evaluate


def compare(
    network: NetworkName, evaluate: Evaluate, reference: Evaluate, tried: Iterable[Probe]
) -> tuple[OutputParity, ...]:
    """Measure a network against its reference.

    Padding is left out of the measures: nobody reads it, and its huge logits would drown errors.

    Args:
        network: Which network.
        evaluate: Runs the network under test.
        reference: Runs the reference.
        tried: The calls to compare on.

    Raises:
        ParityError: Outputs at padding frames look like those of real frames.
    """
    signature = SIGNATURES[network]
    found: dict[str, list[Difference]] = {tensor.name: [] for tensor in signature.outputs}
    for probe in tried:
        outputs, expected = evaluate(probe.inputs), reference(probe.inputs)
        _check_padding(network, outputs, probe)
        for name, real in _real(signature, probe.inputs).items():
            found[name].append(difference(outputs[name][real], expected[name][real]))
    return tuple(OutputParity(name, worst(items), len(items)) for name, items in found.items())


def check(
    parities: Iterable[OutputParity],
    *,
    network: NetworkName,
    precision: Precision,
    against: str,
    bound: Bound | None = None,
) -> None:
    """Refuse a network whose outputs exceed the tolerance of its precision.

    Args:
        parities: What was measured.
        network: Which network.
        precision: In what precision.
        against: What it was measured with, for the message.
        bound: The tolerance; by default that of the precision.

    Raises:
        ParityError: An output breaks its bound.
    """
    limit = BOUNDS[precision] if bound is None else bound
    for parity in parities:
        if broken := limit.broken_by(parity.worst):
            raise ParityError(
                f"{parity.output} differs from PyTorch in FP32 ({against}): {broken}",
                where=f"the {network} network in {precision}",
                remedy="Report the encoder and the versions of torch and onnx; the export "
                "was not kept",
            )


def range_calls(
    network: NetworkName, widths: Mapping[str, int]
) -> Iterator[tuple[torch.Tensor, ...]]:
    """Half-precision inputs to measure activation ranges on: tame ones, and wild ones."""
    names = [tensor.name for tensor in SIGNATURES[network].inputs]
    for outliers in (False, True):
        for probe in probes(network, widths, RANGED[network], seed=1, outliers=outliers):
            yield tuple(_as_tensor(probe.inputs[name], half=True) for name in names)


def _real(signature: Signature, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Where each output is real, as a mask to index it with."""
    masks = {"frames": inputs.get("frame_mask"), "tokens": inputs.get("token_mask")}
    selections: dict[str, Array] = {}
    batch = next(iter(inputs.values())).shape[0]
    for tensor in signature.outputs:
        selected = np.ones((batch,), dtype=np.bool_)
        for axis in tensor.axes[1:]:
            mask = masks.get(str(axis))
            if mask is not None:
                shape = (batch, *(1,) * (selected.ndim - 1), mask.shape[1])
                selected = selected[..., None] & mask.reshape(shape)
        selections[tensor.name] = selected
    return selections


def _check_padding(network: NetworkName, outputs: Mapping[str, Array], probe: Probe) -> None:
    if network != "localizer":
        return
    frames = probe.inputs["frame_mask"].astype(np.bool_)
    tokens = probe.inputs["token_mask"].astype(np.bool_)
    loud = any(
        (outputs[name][~frames].astype(np.float64) > PADDED_LOGIT).any()
        for name in ("start_logits", "end_logits")
    )
    aligned = outputs["alignment"][~(tokens[:, :, None] & frames[:, None, :])]
    if loud or (aligned != 0).any():
        raise ParityError(
            "padding comes out as if it were real", where=f"the localizer network, {probe.label}"
        )


def _in_precision(inputs: Mapping[str, Array], *, half: bool) -> dict[str, Array]:
    if not half:
        return dict(inputs)
    return {
        name: array.astype(np.float16) if array.dtype == np.float32 else array
        for name, array in inputs.items()
    }


def _as_tensor(array: Array, *, half: bool) -> torch.Tensor:
    import torch

    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.half() if half and tensor.dtype == torch.float32 else tensor
