"""Modules that stay in FP32 because half precision cannot hold what they compute."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from vtloc_export.errors import ExportError
from vtloc_export.precision.activation_ranges import (
    HEADROOM,
    LayerRange,
    activation_ranges,
    check_ranges,
)
from vtloc_export.precision.graph_check import LEAST_HALF

if TYPE_CHECKING:
    import torch

    from vtloc_export.precision.typed_network import TypedNetwork

_ROUNDS = 24
_LARGEST_SHARE = 0.8 * (1 - LEAST_HALF)
"""Share of the parameters that islands may hold: with more, the network is not half precision."""


def within_range(
    make: Callable[[Sequence[str]], TypedNetwork],
    calls: Callable[[], Iterable[tuple[torch.Tensor, ...]]],
    *,
    network: str,
    spared: Sequence[str] = (),
) -> tuple[TypedNetwork, tuple[LayerRange, ...], tuple[str, ...]]:
    """A network in half precision whose values fit, with as few modules in FP32 as that takes.

    A module whose values come too close to the end of half precision's range computes in FP32. If
    what it gives still does not fit, so does the module around it.

    Args:
        make: Gives the network in half precision, with some modules in FP32.
        calls: Gives the inputs to measure on.
        network: Which network, for messages.
        spared: Modules that stay in FP32 from the start.

    Returns:
        The network, the range of every value that it holds in half precision, and the modules in
        FP32.

    Raises:
        ExportError: Too much of the network would have to stay in FP32; the layer that does not
            fit is named.
    """
    islands = tuple(spared)
    first: tuple[LayerRange, ...] = ()
    for _ in range(_ROUNDS):
        typed = make(islands)
        ranges = activation_ranges(typed, calls())
        first = first or ranges
        loud = [item for item in ranges if item.share > HEADROOM]
        if not loud:
            return typed, ranges, islands
        modules = dict(typed.network.named_modules())
        # Infinity spreads: of the layers that overflow, only the first is known to do so itself.
        finite = [item for item in loud if item.share <= 1]
        named = {_module_of(item.layer, modules) for item in finite or loud[:1]}
        wider = _widened(islands, named)
        if wider is None or _share(typed, wider) > _LARGEST_SHARE:
            break
        islands = wider
    check_ranges(first, network=network)
    raise ExportError(
        f"{first[0].layer} does not fit half precision",
        where=f"the {network} network in fp16",
        remedy="Export it in fp32",
    )


def _module_of(layer: str, modules: dict[str, torch.nn.Module]) -> str:
    """The module that a layer's values come from; "" for the network itself."""
    name = layer.partition(":")[0]
    return name if name in modules else ""


def _widened(islands: tuple[str, ...], loud: set[str]) -> tuple[str, ...] | None:
    """The islands with more modules; None where the whole network would be one."""
    chosen = set(islands)
    for name in loud:
        # What an island gives is still too large for half precision: take what is around it.
        while name and any(name == one or name.startswith(f"{one}.") for one in islands):
            name = name.rpartition(".")[0]  # noqa: PLW2901 - climbs to the parent
        if not name:
            return None
        chosen.add(name)
    return tuple(sorted(one for one in chosen if not any(one.startswith(f"{o}.") for o in chosen)))


def _share(typed: TypedNetwork, islands: Sequence[str]) -> float:
    counts = {name: weight.numel() for name, weight in typed.network.named_parameters()}
    inside = sum(
        count
        for name, count in counts.items()
        if any(name.startswith(f"{island}.") for island in islands)
    )
    return inside / max(1, sum(counts.values()))
