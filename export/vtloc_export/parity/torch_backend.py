"""PyTorch modules behind the runtime's network interface: the reference of every comparison."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from vtloc_export.parity.comparison import torch_evaluate
from vtloc_export.signatures import SIGNATURES, Tensor
from vtloc_runtime.networks.interface import (
    Array,
    Network,
    TensorSpec,
    check_inputs,
    choose_outputs,
)

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

    def run(
        self, inputs: Mapping[str, Array], outputs: Collection[str] | None = None
    ) -> dict[str, Array]:
        """Compute every output, and give those that are read.

        Raises:
            NetworkError: An input is missing, unknown or of another shape or dtype, or an output
                is unknown.
        """
        check_inputs(self.inputs, inputs, network=self.name)
        read = choose_outputs(self.outputs, outputs, network=self.name)
        found = self._evaluate(inputs)
        return {name: found[name] for name in read}

    def close(self) -> None:
        """Nothing is held that Python does not free."""


def _specs(tensors: tuple[Tensor, ...], widths: Mapping[str, int]) -> dict[str, TensorSpec]:
    entries = (tensor.entry(widths, "fp32") for tensor in tensors)
    return {entry.name: TensorSpec(entry.name, entry.dtype, entry.shape) for entry in entries}
