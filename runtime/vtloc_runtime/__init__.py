"""Find the moment of a video that a sentence describes, without PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vtloc_runtime.lazy_names import lazy_names

if TYPE_CHECKING:
    from vtloc_runtime.bundle.bundle import Bundle
    from vtloc_runtime.errors import (
        BackendError,
        BundleError,
        ClusterError,
        DecoderLostError,
        DeviceLostError,
        EngineError,
        FeatureError,
        JobError,
        MissingExtraError,
        NetworkError,
        OutputError,
        QueryError,
        UsageError,
        VideoError,
        VtlocError,
    )
    from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo
    from vtloc_runtime.localize.localizer import Localizer
    from vtloc_runtime.localize.questions.question import Picture
    from vtloc_runtime.localize.spans.moments import Localization, Moment

__version__ = "0.2.0"

__all__ = [
    "BackendError",
    "Bundle",
    "BundleError",
    "ClusterError",
    "DecoderLostError",
    "DeviceLostError",
    "EncodedVideo",
    "EngineError",
    "FeatureError",
    "JobError",
    "Localization",
    "Localizer",
    "MissingExtraError",
    "Moment",
    "NetworkError",
    "OutputError",
    "Picture",
    "QueryError",
    "UsageError",
    "VideoError",
    "VtlocError",
    "__version__",
]

_HOMES = {
    "Bundle": "vtloc_runtime.bundle.bundle",
    "BackendError": "vtloc_runtime.errors",
    "BundleError": "vtloc_runtime.errors",
    "ClusterError": "vtloc_runtime.errors",
    "DecoderLostError": "vtloc_runtime.errors",
    "DeviceLostError": "vtloc_runtime.errors",
    "EngineError": "vtloc_runtime.errors",
    "FeatureError": "vtloc_runtime.errors",
    "JobError": "vtloc_runtime.errors",
    "MissingExtraError": "vtloc_runtime.errors",
    "NetworkError": "vtloc_runtime.errors",
    "OutputError": "vtloc_runtime.errors",
    "QueryError": "vtloc_runtime.errors",
    "UsageError": "vtloc_runtime.errors",
    "VideoError": "vtloc_runtime.errors",
    "VtlocError": "vtloc_runtime.errors",
    "EncodedVideo": "vtloc_runtime.localize.encoding.encoded_video",
    "Localizer": "vtloc_runtime.localize.localizer",
    "Localization": "vtloc_runtime.localize.spans.moments",
    "Moment": "vtloc_runtime.localize.spans.moments",
    "Picture": "vtloc_runtime.localize.questions.question",
}

# Hidden from type checkers, for which it would make every name valid.
if not TYPE_CHECKING:
    __getattr__ = lazy_names(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
