"""Constant folding and lint of an exported graph by Polygraphy."""

from __future__ import annotations

import io
import json
import math
import os
import subprocess
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vtloc_export.errors import ExportError
from vtloc_runtime.errors import MissingExtraError

if TYPE_CHECKING:
    import onnx_ir
    from onnx import ModelProto

_POLYGRAPHY = "from polygraphy.tools import main; raise SystemExit(main())"
_LARGE = 1 << 16
"""Bytes of a constant that is a weight, and no shape or index."""
_PATIENCE = 600
"""Seconds after which a lint counts as failed."""


def sanitized(model: onnx_ir.Model) -> ModelProto:
    """Fold the constants of a graph, as ``polygraphy surgeon sanitize`` does.

    Args:
        model: The graph as it was traced; it loses its weights to the result.

    Raises:
        MissingExtraError: Polygraphy is not installed.
        ExportError: Polygraphy cannot read the graph.
    """
    try:
        from polygraphy.backend.onnx import fold_constants
    except ImportError as error:
        raise MissingExtraError.for_package(
            "polygraphy", extra="export", purpose="sanitizing a graph"
        ) from error
    from onnx_ir import serde

    weights = _take_weights(model)
    try:
        # Its logger writes hints for its own command line, whatever its verbosity.
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            folded: ModelProto = fold_constants(serde.serialize_model(model))
    except Exception as error:
        raise ExportError(f"Polygraphy cannot fold its constants: {error}") from error
    given = [value for value in folded.graph.input if value.name not in weights]
    del folded.graph.input[:]
    folded.graph.input.extend(given)
    for name, numbers in weights.items():
        numbers.name = name
        serde.serialize_tensor_into(folded.graph.initializer.add(), numbers)
    return folded


def _take_weights(model: onnx_ir.Model) -> dict[str, onnx_ir.TensorProtocol]:
    """Let a graph's large constants be inputs, in place, and give them by name.

    Nothing is left to fold in them, and Polygraphy would hold each of them several times.
    """
    import onnx_ir

    weights: dict[str, onnx_ir.TensorProtocol] = {}
    for name, value in tuple(model.graph.initializers.items()):
        numbers = value.const_value
        if numbers is None or numbers.nbytes < _LARGE:
            continue
        weights[name] = numbers
        del model.graph.initializers[name]
        value.const_value = None
        value.shape = onnx_ir.Shape(numbers.shape.numpy())
        value.type = onnx_ir.TensorType(numbers.dtype)
        model.graph.inputs.append(value)
    return weights


def lint(path: Path) -> tuple[str, ...]:
    """The complaints of ``polygraphy check lint`` about a graph; empty for a valid one.

    Args:
        path: The ONNX file; its weights' numbers do not matter.

    Raises:
        ExportError: Polygraphy's command could not be run.
    """
    with tempfile.TemporaryDirectory(prefix="vtloc-lint-") as folder:
        report, hollow = Path(folder) / "report.json", Path(folder) / path.name
        hollow.write_bytes(_hollow(path))
        command = [sys.executable, "-c", _POLYGRAPHY, "check", "lint", str(hollow)]
        try:
            # A process of its own: the linter tries the graph piece by piece, and may crash.
            done = subprocess.run(  # noqa: S603 - our interpreter, our arguments
                [*command, "-o", str(report)],
                capture_output=True,
                text=True,
                timeout=_PATIENCE,
                check=False,
                env={**os.environ, "POLYGRAPHY_AUTOINSTALL_DEPS": "0"},
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ExportError(f"polygraphy check lint failed: {error}", where=path) from error
        if not report.is_file():
            reason = (done.stderr or done.stdout).strip().rpartition("\n")[2]
            raise ExportError(f"polygraphy check lint failed: {reason}", where=path)
        entries: list[dict[str, Any]] = json.loads(report.read_text()).get("lint_entries", [])
    return tuple(str(entry.get("message", "")).strip() for entry in entries if _is_wrong(entry))


def _hollow(path: Path) -> bytes:
    """A graph whose large weights are zeros made by nodes: the linter holds each several times."""
    import onnx
    from onnx import helper

    model = onnx.load(path, load_external_data=False)
    kept, zeros = [], []
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) < _LARGE and not tensor.external_data:
            kept.append(tensor)
            continue
        shape = onnx.numpy_helper.from_array(np.array(tensor.dims), f"{tensor.name}.shape")
        value = helper.make_tensor("value", tensor.data_type, [1], [0])
        kept.append(shape)
        zeros.append(helper.make_node("ConstantOfShape", [shape.name], [tensor.name], value=value))
    hollow = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    hollow.graph.name = model.graph.name
    hollow.graph.input.extend(model.graph.input)
    hollow.graph.output.extend(model.graph.output)
    hollow.graph.value_info.extend(model.graph.value_info)
    hollow.graph.initializer.extend(kept)
    hollow.graph.node.extend([*zeros, *model.graph.node])
    content: bytes = hollow.SerializeToString()
    return content


def _is_wrong(entry: dict[str, Any]) -> bool:
    return entry.get("level") in {"error", "exception"}
