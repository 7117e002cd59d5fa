"""How large activations get, layer by layer, and what of them half precision cannot hold."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from vtloc_export.errors import ExportError
from vtloc_export.precision.policy import HALF_LIMIT

if TYPE_CHECKING:
    from vtloc_export.precision.typed_network import TypedNetwork

HEADROOM = 0.5
"""Share of half precision's range that a layer may use on probe inputs; real ones go further."""


@dataclass(frozen=True, slots=True)
class LayerRange:
    """What one layer gave on all probes.

    Attributes:
        layer: The module's path and the function inside it.
        largest: Largest magnitude.
        typical: Root mean square.
    """

    layer: str
    largest: float
    typical: float

    @property
    def share(self) -> float:
        """How much of half precision's range the layer uses, 1 being all of it."""
        return self.largest / HALF_LIMIT


class _Recorder(TorchFunctionMode):
    """Notes the size of everything that any PyTorch function returns in half precision."""

    def __init__(self) -> None:
        super().__init__()
        self.path: list[str] = []
        self.calls: Counter[str] = Counter()
        self.largest: dict[str, float] = {}
        self.squares: dict[str, tuple[float, int]] = {}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        del types
        result = func(*args, **dict(kwargs or {}))
        if isinstance(result, Tensor) and result.dtype == torch.float16 and result.numel():
            place = (self.path[-1] if self.path else "") or "network"
            layer = f"{place}:{getattr(func, '__name__', 'function')}"
            self.calls[layer] += 1
            again = f"#{self.calls[layer]}" if self.calls[layer] > 1 else ""
            self._note(layer + again, result)
        return result

    def _note(self, layer: str, values: Tensor) -> None:
        wide = values.detach().double()
        # NaN counts as too large.
        wide = wide.nan_to_num(nan=math.inf, posinf=math.inf, neginf=-math.inf)
        self.largest[layer] = max(self.largest.get(layer, 0.0), float(wide.abs().max()))
        total, count = self.squares.get(layer, (0.0, 0))
        self.squares[layer] = (total + float(wide.square().sum()), count + wide.numel())


def activation_ranges(
    typed: TypedNetwork, calls: Iterable[tuple[Tensor, ...]]
) -> tuple[LayerRange, ...]:
    """The range of every value that a network holds in half precision, largest first.

    Of layers that overflow, the first to do so comes first.

    Args:
        typed: In half precision; what lies on its FP32 islands is not counted.
        calls: Inputs to run it on.
    """
    recorder = _Recorder()
    hooks: list[Any] = []
    for name, module in typed.network.named_modules():
        hooks.append(module.register_forward_pre_hook(partial(_enter, recorder, name)))
        hooks.append(module.register_forward_hook(partial(_leave, recorder)))
    try:
        with torch.inference_mode():
            for inputs in calls:
                recorder.calls.clear()
                with recorder:
                    typed(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    ranges = []
    for layer, largest in recorder.largest.items():
        total, count = recorder.squares[layer]
        ranges.append(LayerRange(layer, largest, (total / count) ** 0.5))
    return tuple(sorted(ranges, key=lambda item: item.share, reverse=True))


def check_ranges(ranges: Sequence[LayerRange], *, network: str) -> None:
    """Refuse half precision where a layer overflows it, or comes too close.

    Raises:
        ExportError: A layer's values pass the headroom; it is named.
    """
    for item in ranges:
        if item.share <= HEADROOM:
            continue
        reached = f"reaches {item.largest:.4g}" if item.share <= 1 else "overflows"
        raise ExportError(
            f"{item.layer} {reached}; half precision ends at {HALF_LIMIT:.0f}, "
            f"and {HEADROOM:.0%} of it is kept free",
            where=f"the {network} network in fp16",
            remedy="Export it in fp32, or make the layer an island in precision/islands.py",
        )


def _enter(recorder: _Recorder, name: str, *_: object) -> None:
    recorder.path.append(name)


def _leave(recorder: _Recorder, *_: object) -> None:
    recorder.path.pop()
