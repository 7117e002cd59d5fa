"""Telemetry of libraries, switched off: what vtloc starts looks nothing up and sends nothing."""

from __future__ import annotations

import os

ONNXRUNTIME_SWITCH = "ORT_DISABLE_TELEMETRY"
"""ONNX Runtime 1.29 and later reads it once, as it starts: no upload, no device id, no files."""


def disable_telemetry() -> None:
    """Switch telemetry off for this process and the processes that it starts.

    Called before ONNX Runtime is imported. ONNX Runtime knows no way to switch it off later that
    also keeps it from writing a device id.
    """
    os.environ[ONNXRUNTIME_SWITCH] = "1"
