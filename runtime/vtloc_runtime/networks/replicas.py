"""One network on several devices: every run goes to the device that has least to do."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from vtloc_runtime.errors import NetworkError
from vtloc_runtime.networks.interface import Array, Network


class ReplicatedNetwork(Network):
    """The same network opened once a device; safe to call from several threads.

    A call is one run on one device, so it takes several threads to keep several devices busy.

    Args:
        copies: The network on each device; closed by :meth:`close`.

    Attributes:
        copies: The same.

    Raises:
        NetworkError: The copies differ in their inputs or outputs.
    """

    def __init__(self, copies: Sequence[Network]) -> None:
        first = copies[0]
        for copy in copies[1:]:
            if (copy.inputs, copy.outputs) != (first.inputs, first.outputs):
                raise NetworkError(
                    f"the network differs between {first.backend} and {copy.backend}",
                    where=first.name,
                    remedy="Build the engines of all devices with the same profiles",
                )
        self.copies = tuple(copies)
        self.name = first.name
        kind = first.backend.partition(":")[0]
        devices = (copy.backend.partition(":")[2] for copy in self.copies)
        self.backend = f"{kind}:{','.join(devices)}"
        self.inputs = first.inputs
        self.outputs = first.outputs
        self._busy = [0] * len(self.copies)
        self._given = [0] * len(self.copies)
        self._lock = threading.Lock()

    def run(
        self, inputs: Mapping[str, Array], outputs: Collection[str] | None = None
    ) -> dict[str, Array]:
        """Compute outputs, on one device.

        Raises:
            NetworkError: An input is missing, unknown or out of limits, an output is unknown, or
                the run failed.
        """
        with self._least_busy() as copy:
            return copy.run(inputs, outputs)

    def close(self) -> None:
        """Free every copy; a second call does nothing."""
        with ExitStack() as stack:
            for copy in self.copies:
                stack.callback(copy.close)

    @contextmanager
    def _least_busy(self) -> Iterator[Network]:
        with self._lock:
            # Among equals the one with the fewest calls: short runs would all go to the first.
            chosen = min(
                range(len(self.copies)), key=lambda at: (self._busy[at], self._given[at], at)
            )
            self._busy[chosen] += 1
            self._given[chosen] += 1
        try:
            yield self.copies[chosen]
        finally:
            with self._lock:
                self._busy[chosen] -= 1


def device_count(network: Network) -> int:
    """How many devices a network runs on."""
    return len(network.copies) if isinstance(network, ReplicatedNetwork) else 1
