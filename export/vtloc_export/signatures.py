"""Inputs and outputs of each network: names, dtypes and axes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from vtloc_runtime.bundle.manifest import NetworkName, TensorEntry

Precision = Literal["fp32", "fp16", "compact"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "compact")

FLOATING = "floating"
"""A dtype that follows the precision: float32, or float16 in half precision."""

DYNAMIC_AXES = frozenset({"batch", "frames", "tokens"})


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output.

    Attributes:
        name: Its name in the graph.
        dtype: A numpy dtype name, or ``FLOATING``.
        axes: A dynamic axis by its name, a fixed one by the name of a width or by its length.
    """

    name: str
    dtype: str
    axes: tuple[str | int, ...]

    def entry(self, widths: Mapping[str, int], precision: Precision) -> TensorEntry:
        """The entry of this tensor in a manifest.

        Args:
            widths: Length of every named width.
            precision: The precision of floating tensors.
        """
        shape = tuple(
            axis if isinstance(axis, int) or axis in DYNAMIC_AXES else widths[axis]
            for axis in self.axes
        )
        return TensorEntry(name=self.name, dtype=self.dtype_in(precision), shape=shape)

    def dtype_in(self, precision: Precision) -> str:
        """The numpy dtype name in a precision."""
        if self.dtype != FLOATING:
            return self.dtype
        return "float16" if precision == "fp16" else "float32"


@dataclass(frozen=True, slots=True)
class Signature:
    """The inputs and outputs of a network.

    Attributes:
        network: Whose they are.
        inputs: In the order of the PyTorch module's arguments.
        outputs: In the order of its results.
    """

    network: NetworkName
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


SIGNATURES: Mapping[NetworkName, Signature] = {
    "visual": Signature(
        "visual",
        inputs=(Tensor("frames", "uint8", ("batch", "size", "size", 3)),),
        outputs=(Tensor("features", FLOATING, ("batch", "feature")),),
    ),
    "text": Signature(
        "text",
        inputs=(
            Tensor("token_ids", "int64", ("batch", "tokens")),
            Tensor("token_mask", "bool", ("batch", "tokens")),
        ),
        outputs=(
            Tensor("tokens", FLOATING, ("batch", "tokens", "token")),
            Tensor("sentence", FLOATING, ("batch", "sentence")),
        ),
    ),
    "localizer": Signature(
        "localizer",
        inputs=(
            Tensor("features", FLOATING, ("batch", "frames", "feature")),
            Tensor("frame_mask", "bool", ("batch", "frames")),
            Tensor("tokens", FLOATING, ("batch", "tokens", "token")),
            Tensor("token_mask", "bool", ("batch", "tokens")),
        ),
        outputs=(
            Tensor("start_logits", "float32", ("batch", "frames")),
            Tensor("end_logits", "float32", ("batch", "frames")),
            Tensor("alignment", "float32", ("batch", "tokens", "frames")),
        ),
    ),
}
