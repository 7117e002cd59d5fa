"""Errors of training and evaluation, beside those of the runtime."""

from __future__ import annotations

from vtloc_runtime.errors import VtlocError


class ConfigurationError(VtlocError):
    """A configuration with an unknown field or an impossible value."""

    exit_code = 10
    kind = "configuration"


class CheckpointError(VtlocError):
    """A checkpoint that is missing, damaged or of another shape."""

    exit_code = 11
    kind = "checkpoint"


class EncoderError(VtlocError):
    """An encoder that is unknown or whose weights cannot be found."""

    exit_code = 12
    kind = "encoder"


class AnnotationError(VtlocError):
    """Annotations that cannot be read in the benchmark's format."""

    exit_code = 13
    kind = "annotation"
