"""Errors of calibration, beside those of the runtime and of export."""

from __future__ import annotations

from vtloc_runtime.errors import VtlocError


class CalibrationError(VtlocError):
    """Samples or labels that are too few, or unfit, to calibrate with."""

    exit_code = 18
    kind = "calibration"
