"""Tolerances of each precision: how far its outputs and answers may be from FP32's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vtloc_export.parity.measures import BOUNDS, Bound
from vtloc_runtime.bundle.manifest import PrecisionBounds

if TYPE_CHECKING:
    from vtloc_runtime.bundle.manifest import Manifest


MOVED_SECONDS = 0.1
"""An answer has moved where its start or end is this many seconds elsewhere."""


@dataclass(frozen=True, slots=True)
class AnswerBound:
    """How far a precision's answers may be from the reference's.

    Attributes:
        same: Least share of queries whose best moment stays where it was.
        iou: Least mean IoU of old and new best moments.
        drift: Most points that R@m or mIoU may lose or gain on labelled data; one query may
            always change sides.
    """

    same: float
    iou: float
    drift: float


ANSWER_BOUNDS: Mapping[str, AnswerBound] = {
    "fp32": AnswerBound(same=1.0, iou=0.999, drift=0.1),
    "fp16": AnswerBound(same=0.99, iou=0.98, drift=0.2),
    "compact": AnswerBound(same=0.8, iou=0.9, drift=1.0),
    # Of the synthetic questions, where nothing resembles anything, three answers in ten may move.
    "int8": AnswerBound(same=0.7, iou=0.7, drift=1.0),
}
"""Default tolerances of the whole chain's answers, by precision."""


def promises(precisions: Iterable[str]) -> dict[str, PrecisionBounds]:
    """The tolerances of precisions, as a bundle's manifest records them."""
    return {
        precision: PrecisionBounds(
            relative_l2=BOUNDS[precision].relative_l2,
            cosine=BOUNDS[precision].cosine,
            same=ANSWER_BOUNDS[precision].same,
            iou=ANSWER_BOUNDS[precision].iou,
            drift=ANSWER_BOUNDS[precision].drift,
        )
        for precision in precisions
    }


def tensor_bound(manifest: Manifest, precision: str) -> Bound:
    """The tolerance of a bundle's outputs: its manifest's, or the default of the precision."""
    held = manifest.provenance.bounds.get(precision)
    return BOUNDS[precision] if held is None else Bound(held.relative_l2, held.cosine)


def answer_bound(manifest: Manifest, precision: str) -> AnswerBound:
    """The tolerance of a bundle's answers: its manifest's, or the default of the precision."""
    held = manifest.provenance.bounds.get(precision)
    return (
        ANSWER_BOUNDS[precision] if held is None else AnswerBound(held.same, held.iou, held.drift)
    )
