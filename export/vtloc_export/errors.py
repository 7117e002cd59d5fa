"""Errors of export, beside those of the runtime and of training."""

from __future__ import annotations

from vtloc_runtime.errors import VtlocError


class ExportError(VtlocError):
    """A network that could not be exported."""

    exit_code = 15
    kind = "export"


class ParityError(VtlocError):
    """An export whose answers differ from the PyTorch model's by more than its bounds."""

    exit_code = 1
    kind = "parity"
