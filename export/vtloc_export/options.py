"""Options of an export."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vtloc_export.signatures import Precision


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What to export.

    Attributes:
        precisions: Which files each network comes in.
        overwrite: Whether a bundle at the same place is replaced.
        name: The bundle's name; None keeps the source's.
        license: The weights' licence; None keeps the source's.
        frames_per_second: How densely videos are sampled; None keeps the source's.
        lint: Whether Polygraphy lints every graph.
        source_digest: What the new bundle names as its source; empty for none.
    """

    precisions: tuple[Precision, ...] = ("fp32",)
    overwrite: bool = False
    name: str | None = None
    license: str | None = None
    frames_per_second: float | None = None
    lint: bool = True
    source_digest: str = ""
