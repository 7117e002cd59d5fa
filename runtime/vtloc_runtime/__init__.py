"""Find the moment of a video that a sentence describes, without PyTorch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vtloc_runtime.bundle.bundle import Bundle
    from vtloc_runtime.errors import VtlocError
    from vtloc_runtime.localize.encoded_video import EncodedVideo
    from vtloc_runtime.localize.localizer import Localizer
    from vtloc_runtime.localize.moments import Localization, Moment

__version__ = "0.2.0"

__all__ = [
    "Bundle",
    "EncodedVideo",
    "Localization",
    "Localizer",
    "Moment",
    "VtlocError",
    "__version__",
]

_HOMES = {
    "Bundle": "bundle.bundle",
    "EncodedVideo": "localize.encoded_video",
    "Localization": "localize.moments",
    "Localizer": "localize.localizer",
    "Moment": "localize.moments",
    "VtlocError": "errors",
}


# Hidden from type checkers, which would believe that it gives every name.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Load a public name when it is first used, so that importing the package stays cheap."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
