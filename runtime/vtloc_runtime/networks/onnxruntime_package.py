"""ONNX Runtime, imported so that it sends nothing: the one place where the tree imports it."""

from __future__ import annotations

import re
from typing import Any

from vtloc_runtime.errors import BackendError, MissingExtraError
from vtloc_runtime.system.telemetry import disable_telemetry

ERRORS_ONLY, FATAL_ONLY = 3, 4
"""Severities at which ONNX Runtime says something on standard error."""

FIRST_WITH_EXTERNAL_DATA = (1, 27)
"""The first release with all fixes of external data outside a network's folder."""


def release(version: str) -> tuple[int, int]:
    """The first two numbers of a version; zeros for what is unlike one."""
    match = re.match(r"(\d+)\.(\d+)", version)
    return (0, 0) if match is None else (int(match[1]), int(match[2]))


def import_onnxruntime(*, extra: str, purpose: str) -> Any:
    """Import ONNX Runtime with its telemetry off.

    Args:
        extra: The extra of this distribution that brings it, for the message.
        purpose: What it is needed for, for the message.

    Raises:
        MissingExtraError: It is not installed.
        BackendError: Two builds of it overwrote each other.
    """
    disable_telemetry()
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError.for_package("onnxruntime", extra=extra, purpose=purpose) from error
    if not hasattr(onnxruntime, "InferenceSession"):
        raise BackendError(
            "onnxruntime is installed but broken",
            where=getattr(onnxruntime, "__path__", None),
            remedy="onnxruntime and onnxruntime-gpu overwrite each other: "
            "uninstall both, then install one",
        )
    # For a process whose own code imported ONNX Runtime before the variable was set.
    if hasattr(onnxruntime, "disable_telemetry_events"):
        onnxruntime.disable_telemetry_events()
    onnxruntime.set_default_logger_severity(ERRORS_ONLY)
    return onnxruntime
