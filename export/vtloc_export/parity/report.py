"""What was found when a bundle was compared with its PyTorch model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vtloc_export.parity.comparison import (
        OutputParity,
    )


@dataclass(frozen=True, slots=True)
class TensorParity:
    """One network in one precision, against PyTorch in FP32.

    Attributes:
        network: Which network.
        precision: In what precision.
        arithmetic: What computed it.
        outputs: Its outputs.
        broken: What breaks the bound, or None.
    """

    network: str
    precision: str
    arithmetic: str
    outputs: tuple[OutputParity, ...]
    broken: str | None


@dataclass(frozen=True, slots=True)
class AnswerParity:
    """The whole chain in one precision on one backend, against PyTorch in FP32.

    Attributes:
        backend: What ran it.
        precision: In what precision.
        queries: Questions asked.
        same: Share of them whose best moment moved by less than ``SAME`` seconds, or to a
            near-tie.
        near_ties: Share of them whose best moment moved to one that the reference scores within
            ``TIE`` of its best. They count as the same, but lower the IoU.
        iou: Mean IoU of old and new best moments.
        drift: Points gained or lost on labelled data, by measure; empty without labels.
        broken: What breaks the bound, or None.
    """

    backend: str
    precision: str
    queries: int
    same: float
    near_ties: float
    iou: float
    drift: Mapping[str, float]
    broken: str | None


@dataclass(frozen=True, slots=True)
class ParityReport:
    """Everything that was verified about a bundle.

    Attributes:
        bundle: Its directory.
        tensors: Network by network.
        answers: The whole chain, by backend and precision.
        unverified: What could not be verified here, and why.
    """

    bundle: Path
    tensors: tuple[TensorParity, ...]
    answers: tuple[AnswerParity, ...]
    unverified: tuple[str, ...]

    @property
    def broken(self) -> tuple[str, ...]:
        """Every bound that is exceeded, in words."""
        tensors = (
            f"{item.network} in {item.precision}: {item.broken}"
            for item in self.tensors
            if item.broken
        )
        answers = (
            f"answers of {item.backend} in {item.precision}: {item.broken}"
            for item in self.answers
            if item.broken
        )
        return (*tensors, *answers)

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        plain = asdict(self)
        plain["bundle"] = str(self.bundle)
        plain["broken"] = list(self.broken)
        return plain
