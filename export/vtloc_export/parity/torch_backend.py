"""PyTorch modules behind the runtime's network interface: the reference of every comparison."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from vtloc_export.parity.comparison import torch_evaluate
from vtloc_export.signatures import SIGNATURES, Tensor
from vtloc_runtime.networks.interface import Array, Network, TensorSpec, check_inputs

if TYPE_CHECKING:
    import torch

    from vtloc_runtime.bundle.manifest import NetworkName


class TorchNetwork(Network):
    """A PyTorch module in FP32 that the runtime can run.

    Args:
        name: Which network it is.
        module: A visual encoder, a text encoder or a localizer.
        widths: Lengths of its fixed axes.
    """

    def __init__(
        self, name: NetworkName, module: torch.nn.Module, widths: Mapping[str, int]
    ) -> None:
        self.name = name
        self.backend = "torch:cpu"
        self._evaluate = torch_evaluate(module, name)
        self.inputs = _specs(SIGNATURES[name].inputs, widths)
        self.outputs = _specs(SIGNATURES[name].outputs, widths)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Compute every output; arrays by name, with the shapes of ``inputs`` and ``outputs``.

        Raises:
            NetworkError: An input is missing, unknown or of another shape or dtype.
        """
        check_inputs(self.inputs, inputs, network=self.name)
        return self._evaluate(inputs)

    def close(self) -> None:
        """Nothing is held that Python does not free."""


def _specs(tensors: tuple[Tensor, ...], widths: Mapping[str, int]) -> dict[str, TensorSpec]:
    entries = (tensor.entry(widths, "fp32") for tensor in tensors)
    return {entry.name: TensorSpec(entry.name, entry.dtype, entry.shape) for entry in entries}
