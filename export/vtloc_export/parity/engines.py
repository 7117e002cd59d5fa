"""Comparison of TensorRT engines with PyTorch in FP32, network by network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING

from vtloc_export.parity.comparison import SMALL, Evaluate, OutputParity, compare
from vtloc_export.parity.probes import Probe, probes
from vtloc_runtime.errors import EngineError
from vtloc_runtime.networks.load import open_network

if TYPE_CHECKING:
    from vtloc_runtime.bundle.bundle import Bundle
    from vtloc_runtime.bundle.manifest import NetworkName
    from vtloc_runtime.networks.interface import Array, Network


def engine_parity(
    bundle: Bundle,
    network: NetworkName,
    precision: str,
    reference: Evaluate,
    widths: Mapping[str, int],
) -> tuple[tuple[OutputParity, ...], str]:
    """Measure the engine that this machine would run.

    Args:
        bundle: The bundle, with its engines.
        network: Which network.
        precision: In what precision.
        reference: The network in PyTorch.
        widths: Lengths of its fixed axes.

    Returns:
        How each output compares over every probe that the engine's profiles take, and what
        computed it.

    Raises:
        EngineError: No engine fits this machine, or none of the probes fits it.
        MissingExtraError: TensorRT is not installed.
        BackendError: This machine has no GPU.
        ParityError: Outputs at padding frames look like those of real frames.
    """
    with open_network(bundle, network, backend="tensorrt", precision=precision) as engine:
        small = probes(network, widths, SMALL[network], seed=3)
        tried = list(_fitting(engine, chain(probes(network, widths, seed=2), small)))
        if not tried:
            raise EngineError(
                "its profiles take none of the shapes that are tried",
                where=network,
                remedy="Build it with profiles that take small batches, frames and tokens, too",
            )

        def evaluate(inputs: Mapping[str, Array]) -> dict[str, Array]:
            return engine.run(
                {
                    name: inputs[name].astype(spec.dtype, copy=False)
                    for name, spec in engine.inputs.items()
                }
            )

        return compare(network, evaluate, reference, tried), engine.backend


def _fitting(engine: Network, tried: Iterator[Probe]) -> Iterator[Probe]:
    """The probes whose lengths lie within the engine's limits."""
    for probe in tried:
        if all(_fits(engine, name, array) for name, array in probe.inputs.items()):
            yield probe


def _fits(engine: Network, name: str, array: Array) -> bool:
    spec = engine.inputs[name]
    limits = spec.limits or {}
    axes = zip(spec.shape, array.shape, strict=True)
    return all(
        low <= length <= high
        for axis, length in axes
        if isinstance(axis, str)
        for low, high in [limits.get(axis, (1, length))]
    )
