"""A network that is opened when it first runs, because it may never have to."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from vtloc_runtime.errors import NetworkError
from vtloc_runtime.networks.interface import Array, Network, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from vtloc_runtime.bundle.manifest import NetworkFile, NetworkName, TensorEntry


class LateNetwork(Network):
    """Opens a network with its first run; until then its inputs and outputs are the manifest's.

    Args:
        name: Which network.
        backend: What will run it, and where.
        file: What the manifest says of it.
        start: Opens it; called once, unless that fails.
    """

    def __init__(
        self, name: NetworkName, backend: str, file: NetworkFile, start: Callable[[], Network]
    ) -> None:
        self.name = name
        self.backend = backend
        self.inputs = _specs(file.inputs)
        self.outputs = _specs(file.outputs)
        self._start: Callable[[], Network] | None = start
        self._network: Network | None = None
        self._lock = threading.Lock()

    def run(
        self, inputs: Mapping[str, Array], outputs: Collection[str] | None = None
    ) -> dict[str, Array]:
        """Compute outputs, once the network is open.

        Raises:
            NetworkError: As for every network.
            VtlocError: The network cannot be opened; the next run tries again.
        """
        return self._opened().run(inputs, outputs)

    def close(self) -> None:
        """Free the network if it was opened; a second call does nothing."""
        with self._lock:
            self._start = None
            if self._network is not None:
                self._network.close()

    def _opened(self) -> Network:
        with self._lock:
            if self._network is None:
                if self._start is None:
                    raise NetworkError("the network is closed", where=self.name)
                self._network = self._start()
                # The bytes that it was started from are not needed any more.
                self._start = None
            return self._network


def _specs(entries: tuple[TensorEntry, ...]) -> dict[str, TensorSpec]:
    return {one.name: TensorSpec(one.name, one.dtype, tuple(one.shape)) for one in entries}
