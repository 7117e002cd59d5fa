"""One contract for every network, whatever runs it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vtloc_runtime.errors import NetworkError
from vtloc_runtime.system.closing import Closing

Array = NDArray[np.generic]
"""Any numpy array; the tensor's specification says what it holds."""

_OUTPUT_REMEDY = "The network does not do what its file says; export the bundle again"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, dtype and shape of one input or output.

    Attributes:
        name: The tensor's name in the graph.
        dtype: A numpy dtype name, such as ``"uint8"`` or ``"float16"``.
        shape: One entry an axis: a fixed length, or the name of a dynamic one (``"batch"``).
        limits: Smallest and largest length of each dynamic axis, where the backend has limits.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    limits: Mapping[str, tuple[int, int]] | None = None

    def check(self, array: Array, *, network: str) -> None:
        """Refuse an array that this tensor cannot be.

        Raises:
            NetworkError: The dtype, the rank, a fixed axis or a limit is violated.
        """
        if array.dtype != np.dtype(self.dtype):
            raise NetworkError(
                f"input {self.name!r} has dtype {array.dtype}, not {self.dtype}", where=network
            )
        if array.ndim != len(self.shape):
            raise NetworkError(
                f"input {self.name!r} has shape {array.shape}, not {self.shape}", where=network
            )
        for length, wanted in zip(array.shape, self.shape, strict=True):
            low, high = (wanted, wanted) if isinstance(wanted, int) else self._limit(wanted)
            if length < low or (high is not None and length > high):
                raise NetworkError(
                    f"input {self.name!r} has shape {array.shape}; axis {wanted!r} takes "
                    f"{low} to {'any length' if high is None else high}",
                    where=network,
                    remedy="Send smaller batches, or build engines with wider profiles",
                )

    def longest(self, axis: int) -> int | None:
        """The largest length that one axis takes; None where any does."""
        length = self.shape[axis]
        return length if isinstance(length, int) else self._limit(length)[1]

    def batch(self, wanted: int) -> int:
        """The largest batch, up to ``wanted``, that the first axis takes; a fixed one as it is."""
        axis = self.shape[0]
        if isinstance(axis, int):
            return axis
        high = self._limit(axis)[1]
        return max(1, wanted if high is None else min(wanted, high))

    def _limit(self, axis: str) -> tuple[int, int | None]:
        if self.limits is not None and axis in self.limits:
            return self.limits[axis]
        return 1, None


class Network(Closing, Protocol):
    """A graph that is ready to run.

    Implementations are safe to call from several threads, know their names, dtypes and shape
    limits before the first call, and hold their resources until ``close``. They inherit the
    ``with`` statement from here.

    Attributes:
        name: Which network this is, for messages: ``"visual"``, ``"text"`` or ``"localizer"``.
        backend: What runs it, and where: ``"onnxruntime:cpu"``, ``"tensorrt:cuda:0"``.
        inputs: Every input by name.
        outputs: Every output by name.
    """

    name: str
    backend: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]

    def run(
        self, inputs: Mapping[str, Array], outputs: Collection[str] | None = None
    ) -> dict[str, Array]:
        """Compute outputs.

        Args:
            inputs: Every input by name.
            outputs: The outputs that are read; the others stay where they were computed. None
                reads all.

        Returns:
            The outputs that are read, by name.

        Raises:
            NetworkError: An input is missing, unknown or out of limits, an output is unknown, or
                the run failed.
        """
        ...

    def close(self) -> None:
        """Free what the network holds; a second call does nothing."""
        ...


class WrappedNetwork(Network):
    """A network around another: everything is the other's, but for what is overridden.

    Args:
        network: What computes.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self.name = network.name
        self.backend = network.backend
        self.inputs = network.inputs
        self.outputs = network.outputs

    def run(
        self, inputs: Mapping[str, Array], outputs: Collection[str] | None = None
    ) -> dict[str, Array]:
        """Compute outputs."""
        return self._network.run(inputs, outputs)

    def close(self) -> None:
        """Free the other."""
        self._network.close()


def check_inputs(
    specs: Mapping[str, TensorSpec], inputs: Mapping[str, Array], *, network: str
) -> None:
    """Check a call's inputs against the specifications; every axis name means one length.

    Raises:
        NetworkError: An input is missing, unknown, of another dtype, or out of limits.
    """
    if missing := specs.keys() - inputs.keys():
        raise NetworkError(f"missing inputs {sorted(missing)}", where=network)
    if unknown := inputs.keys() - specs.keys():
        raise NetworkError(f"unknown inputs {sorted(unknown)}", where=network)
    lengths: dict[str, tuple[int, str]] = {}
    for name, spec in specs.items():
        array = inputs[name]
        spec.check(array, network=network)
        for length, axis in zip(array.shape, spec.shape, strict=True):
            if isinstance(axis, str):
                known, owner = lengths.setdefault(axis, (length, name))
                if known != length:
                    raise NetworkError(
                        f"inputs {owner!r} and {name!r} disagree on axis {axis!r}: "
                        f"{known} and {length}",
                        where=network,
                    )


def choose_outputs(
    specs: Mapping[str, TensorSpec], outputs: Collection[str] | None, *, network: str
) -> dict[str, TensorSpec]:
    """The specifications of the outputs that a call reads, in the network's order.

    Args:
        specs: Every output of the network.
        outputs: The names that the call gave; None reads all.
        network: The network's name, for messages.

    Raises:
        NetworkError: The network has no output of one of these names.
    """
    if outputs is None:
        return dict(specs)
    # A bare string would pass for a collection of letters.
    wanted = {outputs} if isinstance(outputs, str) else set(outputs)
    if unknown := wanted - specs.keys():
        raise NetworkError(
            f"unknown outputs {sorted(unknown)}; the network gives {sorted(specs)}",
            where=network,
            remedy="Ask for these alone, or export the bundle again",
        )
    return {name: spec for name, spec in specs.items() if name in wanted}


def check_outputs(
    specs: Mapping[str, TensorSpec],
    outputs: Mapping[str, Array],
    input_specs: Mapping[str, TensorSpec],
    inputs: Mapping[str, Array],
    *,
    network: str,
) -> None:
    """Refuse outputs that are not what the network said, such as fewer rows than it was given.

    Args:
        specs: What it said of the outputs that were read.
        outputs: What it gave.
        input_specs: What it said of its inputs.
        inputs: What it was given.
        network: Its name, for messages.

    Raises:
        NetworkError: An output is of another dtype or number of axes, or an axis has another
            length than the specification, or than an input's axis of the same name.
    """
    lengths = {
        axis: length
        for name, spec in input_specs.items()
        for axis, length in zip(spec.shape, inputs[name].shape, strict=True)
    }
    for name, spec in specs.items():
        array = outputs[name]
        wanted = tuple(
            lengths.get(axis, length) if isinstance(axis, str) else axis
            for axis, length in zip(spec.shape, array.shape, strict=False)
        )
        if str(array.dtype) != spec.dtype or array.ndim != len(spec.shape) or array.shape != wanted:
            raise NetworkError(
                f"it gave {name!r} as {array.dtype} {array.shape}, not {spec.dtype} "
                f"{wanted if array.ndim == len(spec.shape) else spec.shape}",
                where=network,
                remedy=_OUTPUT_REMEDY,
            )


def check_finite(array: Array, *, what: str, network: str) -> None:
    """Refuse numbers that are not finite: they would pass for an answer.

    Args:
        array: Floating numbers.
        what: What they are, for the message.
        network: The network that gave them.

    Raises:
        NetworkError: One of them is NaN or infinite.
    """
    # The sum is a single pass, and is not finite wherever one of its parts is not; it overflows
    # seldom, and then the numbers are looked at one by one.
    with np.errstate(all="ignore"):
        if np.isfinite(np.sum(array, dtype=np.float32)) or np.isfinite(array).all():
            return
    raise NetworkError(
        f"the {what} are not finite",
        where=network,
        remedy="Half precision overflowed, or the weights are damaged: try --precision fp32",
    )
