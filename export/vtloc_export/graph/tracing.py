"""Tracing of a PyTorch module into an ONNX graph, without paths of this machine."""

from __future__ import annotations

import contextlib
import gc
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vtloc_export.errors import ExportError
from vtloc_export.graph.parameter_names import name_parameters
from vtloc_export.graph.polygraphy_checks import sanitized
from vtloc_export.graph.simplification import simplify
from vtloc_export.parity.probes import Lengths, probes
from vtloc_export.precision.policy import POLICIES
from vtloc_export.precision.typed_network import TypedNetwork
from vtloc_export.signatures import DYNAMIC_AXES, FLOATING, SIGNATURES, Signature
from vtloc_runtime.errors import MissingExtraError

if TYPE_CHECKING:
    import onnx_ir
    from onnx import ModelProto

    from vtloc_runtime.bundle.manifest import NetworkName

OPSET = 20
"""TensorRT does not build the attention operator that the exporter emits from opset 23 on."""

_TRACED = Lengths(batch=2, frames=13, tokens=6)
"""Traced on lengths that no width and no other axis equals by accident."""


def typed_network(
    network: NetworkName,
    module: torch.nn.Module,
    *,
    half: bool = False,
    spared: Sequence[str] = (),
) -> TypedNetwork:
    """A PyTorch module in the precision that its graph will have.

    Args:
        network: Which network it is.
        module: A visual encoder, a text encoder or a localizer.
        half: Whether in half precision, with the policy's islands.
        spared: Modules that compute in FP32 altogether.
    """
    return TypedNetwork(module, half=half, policy=POLICIES[network].sparing(spared))


def export_graph(
    typed: TypedNetwork, network: NetworkName, widths: Mapping[str, int]
) -> ModelProto:
    """Trace a network.

    Args:
        typed: The network in its precision.
        network: Which network it is.
        widths: Lengths of the fixed axes.

    Returns:
        The graph, its parameters under their PyTorch names.

    Raises:
        ExportError: The network cannot be traced.
        MissingExtraError: A package that exporting needs is not installed.
    """
    signature = SIGNATURES[network]
    example = next(probes(network, widths, (_TRACED,))).inputs
    inputs = tuple(
        torch.from_numpy(np.asarray(example[tensor.name])).to(
            torch.float16 if tensor.dtype == FLOATING and typed.half_precision else None
        )
        for tensor in signature.inputs
    )
    model = sanitized(_trace(typed, signature, inputs))
    name_parameters(model, typed.network, half=typed.half_precision)
    _strip(model)
    model.graph.name = network
    model.producer_name, model.producer_version = "vtloc", ""
    gc.collect()  # What tracing leaves behind refers to itself, and to the weights.
    return model


def _trace(
    typed: TypedNetwork, signature: Signature, inputs: tuple[torch.Tensor, ...]
) -> onnx_ir.Model:
    # One tuple, for the module's forward takes its inputs as *inputs.
    shapes = tuple(
        {
            index: _dimension(str(axis))
            for index, axis in enumerate(tensor.axes)
            if axis in DYNAMIC_AXES
        }
        for tensor in signature.inputs
    )
    try:
        with _quietly():
            program: Any = torch.onnx.export(
                typed,
                inputs,
                dynamo=True,
                opset_version=OPSET,
                input_names=[tensor.name for tensor in signature.inputs],
                output_names=[tensor.name for tensor in signature.outputs],
                dynamic_shapes=(shapes,),
                optimize=False,
                verbose=False,
            )
            model: onnx_ir.Model = program.model
            simplify(model)
    except ImportError as error:
        raise MissingExtraError.for_package(
            error.name or "onnxscript", extra="export", purpose="exporting to ONNX"
        ) from error
    except Exception as error:
        raise ExportError(
            f"PyTorch cannot trace it: {_reason(error)}",
            where=f"the {signature.network} network",
        ) from error
    return model


def _dimension(axis: str) -> Any:
    return torch.export.Dim(axis, min=1, max=1 << 20)


def _strip(model: ModelProto) -> None:
    """Remove the exporter's notes about this machine."""
    for node in model.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        value.ClearField("metadata_props")
        value.ClearField("doc_string")
    for initializer in model.graph.initializer:
        initializer.ClearField("metadata_props")
    model.graph.ClearField("doc_string")
    model.graph.ClearField("metadata_props")


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error.__cause__ or error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    # The exporter prints a log of its own, and warns of names that it finds twice.
    levels = {name: logging.getLogger(name).level for name in ("torch.onnx", "onnxscript")}
    try:
        for name in levels:
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
