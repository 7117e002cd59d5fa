"""A network in FP32 or in half precision with its islands, ready to be traced."""

from __future__ import annotations

import copy
from itertools import chain
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from vtloc_export.errors import ExportError
from vtloc_export.precision.islands import Islands, in_single
from vtloc_export.precision.policy import stays_single

if TYPE_CHECKING:
    from vtloc_export.precision.policy import PrecisionPolicy


class TypedNetwork(nn.Module):
    """A network in one precision, ready to be traced.

    Args:
        network: The PyTorch module; its numbers are shared where they stay in FP32.
        half: Whether it runs in half precision.
        policy: What stays FP32 in half precision.
    """

    def __init__(self, network: nn.Module, *, half: bool, policy: PrecisionPolicy) -> None:
        super().__init__()
        self.network = _same_numbers(network).eval()
        self.half_precision = half
        if half:
            halve(self.network, policy)
            for name in policy.spared:
                _spare(self.network, name)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run the network; a floating input is cast to its precision outside."""
        with Islands():
            outputs = self.network(*inputs)
        return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)


def _same_numbers(network: nn.Module) -> nn.Module:
    """A copy of the modules, whose flags and hooks are its own, around the same numbers."""
    shared: dict[int, Any] = {}
    for tensor in chain(network.parameters(), network.buffers()):
        numbers = tensor.detach()
        if isinstance(tensor, nn.Parameter):
            numbers = nn.Parameter(numbers, requires_grad=False)
        shared[id(tensor)] = numbers
    return copy.deepcopy(network, shared)


def halve(network: nn.Module, policy: PrecisionPolicy) -> None:
    """Cast parameters and buffers to half precision, but for the policy's, in place."""
    for prefix, module in network.named_modules():
        for tensors in (module._parameters, module._buffers):
            owned = cast("dict[str, Tensor | None]", tensors)
            for name, tensor in owned.items():
                if tensor is None or not tensor.is_floating_point():
                    continue
                if not stays_single(f"{prefix}.{name}", policy):
                    replaced = tensor.detach().half()
                    is_parameter = isinstance(tensor, nn.Parameter)
                    owned[name] = (
                        nn.Parameter(replaced, requires_grad=False) if is_parameter else replaced
                    )


def _spare(network: nn.Module, name: str) -> None:
    """Let a module compute in FP32 between neighbours in half precision, in place."""
    module = dict(network.named_modules()).get(name)
    if not name or module is None:
        raise ExportError(
            f"{name!r} is not a separate module, so it cannot stay in FP32",
            remedy="Choose islands again with: vtloc-calibrate sensitivity --precision fp16",
        )
    module.register_forward_pre_hook(
        lambda _module, values, named: (in_single(values), in_single(named)), with_kwargs=True
    )
    module.register_forward_hook(lambda _module, _values, result: _halved(result))


def _halved(values: Any) -> Any:
    if isinstance(values, Tensor):
        return values.half() if values.dtype == torch.float32 else values
    if isinstance(values, tuple):
        return tuple(_halved(value) for value in values)
    return values
