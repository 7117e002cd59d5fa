"""What one item of a network costs: operations counted in the graph itself, bytes moved.

ONNX Runtime's profile names every product with the shapes that it had, so the count is exact for
any encoder, and needs neither the ``onnx`` package nor a table of known models.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vtloc_runtime.networks.onnxruntime_backend import session_options
from vtloc_runtime.networks.onnxruntime_package import import_onnxruntime

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vtloc_runtime.bundle.bundle import Bundle
    from vtloc_runtime.bundle.manifest import NetworkName
    from vtloc_runtime.networks.interface import Array

Shape = list[int]


@dataclass(frozen=True, slots=True)
class NetworkCost:
    """What one item (a frame, a sentence, a sentence in a video) asks for.

    Attributes:
        operations: Floating operations in products and convolutions; a multiply-add is two.
        weight_bytes: Bytes of the weights, read once a run.
        item_bytes: Bytes of the item's inputs and outputs.
    """

    operations: float
    weight_bytes: int
    item_bytes: int


def network_cost(
    bundle: Bundle, network: NetworkName, precision: str, inputs: Mapping[str, Array]
) -> NetworkCost:
    """Count what one item costs, by running it once on the CPU.

    Args:
        bundle: The bundle.
        network: Which network.
        precision: Which precision.
        inputs: One item: inputs whose batch is 1.

    Raises:
        MissingExtraError: ONNX Runtime is not installed.
        BundleError: The bundle lacks the precision, or the file was altered.
    """
    onnxruntime = import_onnxruntime(extra="cpu", purpose="counting a network's operations")
    file = bundle.onnx(bundle.variant(network, precision))
    with tempfile.TemporaryDirectory() as folder:
        options = session_options(file)
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        # As it is in the file: fused operators would hide their products.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(
            file.content, options, providers=["CPUExecutionProvider"]
        )
        outputs = session.run(None, dict(inputs))
        profile = Path(session.end_profiling()).read_text(encoding="utf-8")
    moved = sum(array.nbytes for array in (*inputs.values(), *map(np.asarray, outputs)))
    weights = len(file.content) + sum(map(len, file.external.values()))
    return NetworkCost(_operations(json.loads(profile)), weights, moved)


def _operations(events: list[dict[str, Any]]) -> float:
    total = 0.0
    for event in events:
        details = event.get("args", {})
        if not event.get("name", "").endswith("_kernel_time") or "op_name" not in details:
            continue
        taken = [_shape(entry) for entry in details.get("input_type_shape", [])]
        given = [_shape(entry) for entry in details.get("output_type_shape", [])]
        total += _products(details["op_name"], taken, given)
    return total


def _products(operator: str, taken: list[Shape], given: list[Shape]) -> float:
    """Operations of one node; nodes without products count nothing."""
    if not given:
        return 0.0
    if operator == "MatMul":
        return 2.0 * prod(given[0]) * taken[0][-1]
    if operator == "Gemm":
        # Either side may be transposed; the length summed over is what the output lacks.
        summed = prod(taken[0]) / max(1, given[0][0])
        return 2.0 * prod(given[0]) * summed
    if operator == "Conv":
        return 2.0 * prod(given[0]) * prod(taken[1][1:])
    return 0.0


def _shape(entry: dict[str, Shape]) -> Shape:
    return next(iter(entry.values()), [])
