"""Test inputs for a network: many shapes, with and without padding and outliers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vtloc_export.signatures import FLOATING, SIGNATURES, Tensor

if TYPE_CHECKING:
    from vtloc_runtime.bundle.manifest import NetworkName
    from vtloc_runtime.networks.interface import Array


@dataclass(frozen=True, slots=True)
class Probe:
    """One call of a network.

    Attributes:
        label: What it tries, for messages.
        inputs: By name; floating inputs are float32.
    """

    label: str
    inputs: Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Lengths:
    """Lengths of the dynamic axes, and whether rows are padded.

    Attributes:
        batch: Rows.
        frames: Longest row, frames.
        tokens: Longest row, tokens.
        padded: Whether all rows but the first are shorter.
    """

    batch: int
    frames: int = 1
    tokens: int = 1
    padded: bool = False


CHECKED: Mapping[NetworkName, tuple[Lengths, ...]] = {
    "visual": (Lengths(1), Lengths(3)),
    "text": (
        Lengths(1, tokens=1),
        Lengths(1, tokens=2),
        Lengths(1, tokens=7),
        Lengths(3, tokens=9, padded=True),
        Lengths(2, tokens=32),
    ),
    "localizer": (
        Lengths(1, frames=1, tokens=1),
        Lengths(1, frames=2, tokens=5),
        Lengths(1, frames=61, tokens=7),
        Lengths(2, frames=32, tokens=8),
        Lengths(3, frames=45, tokens=11, padded=True),
        Lengths(1, frames=300, tokens=3),
    ),
}
"""What every export is checked on before it is called done."""

RANGED: Mapping[NetworkName, tuple[Lengths, ...]] = {
    "visual": (Lengths(2),),
    "text": (Lengths(1, tokens=7), Lengths(2, tokens=32)),
    "localizer": CHECKED["localizer"],
}
"""What activation ranges are measured on, calm and with outliers. Half precision is slow on a CPU,
and frames are many numbers each."""


def probes(
    network: NetworkName,
    widths: Mapping[str, int],
    lengths: tuple[Lengths, ...] | None = None,
    *,
    seed: int = 0,
    outliers: bool = False,
) -> Iterator[Probe]:
    """Inputs for a network.

    Args:
        network: Which network.
        widths: Lengths of the fixed axes, ``size`` and ``vocabulary`` among them.
        lengths: The shapes to try; those of ``CHECKED`` where none are given.
        seed: Of the random numbers.
        outliers: Give a few feature and token columns the magnitudes that trained transformers
            are known for, some fifty times the rest.
    """
    random = np.random.default_rng(seed)
    for shape in CHECKED[network] if lengths is None else lengths:
        shape_ = _clipped(shape, widths)
        inputs = {
            tensor.name: _array(tensor, shape_, widths, random)
            for tensor in SIGNATURES[network].inputs
        }
        if outliers:
            inputs = {name: _with_outliers(name, array, random) for name, array in inputs.items()}
        yield Probe(_label(network, shape_, outliers=outliers), _zero_padding(inputs))


def _zero_padding(inputs: dict[str, Array]) -> dict[str, Array]:
    """Padding holds zeros, as the runtime fills it: nothing may divide by their length."""
    for name, mask in (("features", "frame_mask"), ("tokens", "token_mask")):
        if name in inputs:
            real = inputs[mask][..., None]
            inputs[name] = np.where(real, inputs[name], np.zeros_like(inputs[name]))
    return inputs


def _clipped(shape: Lengths, widths: Mapping[str, int]) -> Lengths:
    longest = widths.get("max_tokens", shape.tokens)
    return Lengths(shape.batch, shape.frames, min(shape.tokens, longest), shape.padded)


def _label(network: NetworkName, shape: Lengths, *, outliers: bool) -> str:
    parts = [f"batch {shape.batch}"]
    if network == "localizer":
        parts.append(f"{shape.frames} frames")
    if network != "visual":
        parts.append(f"{shape.tokens} tokens")
    if shape.padded:
        parts.append("padded")
    if outliers:
        parts.append("outliers")
    return ", ".join(parts)


def _array(
    tensor: Tensor, shape: Lengths, widths: Mapping[str, int], random: np.random.Generator
) -> Array:
    lengths = {"batch": shape.batch, "frames": shape.frames, "tokens": shape.tokens, **widths}
    size = tuple(axis if isinstance(axis, int) else lengths[axis] for axis in tensor.axes)
    if tensor.dtype == "bool":
        return _mask(size[0], size[1], padded=shape.padded)
    if tensor.dtype == "int64":
        return random.integers(0, widths["vocabulary"], size, dtype=np.int64)
    if tensor.dtype == FLOATING:
        return _states(size, random)
    return _pictures(size, random)


def _mask(batch: int, length: int, *, padded: bool) -> Array:
    mask = np.ones((batch, length), dtype=np.bool_)
    if padded:
        for row in range(1, batch):
            mask[row, max(1, length - 3 * row) :] = False
    return mask


def _states(size: tuple[int, ...], random: np.random.Generator) -> Array:
    # A drift along the sequence and a common offset, as encoders give, not white noise alone.
    noise = random.standard_normal(size)
    common = random.standard_normal((1, 1, size[-1]))
    drift = np.cumsum(random.standard_normal(size) * 0.2, axis=1)
    return (0.5 * noise + common + drift).astype(np.float32)


def _pictures(size: tuple[int, ...], random: np.random.Generator) -> Array:
    """Pictures with the spectrum of photographs: detail falls off as one over its frequency."""
    batch, height, width, _ = size
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    falloff = 1 / np.maximum(np.hypot(rows, columns), 1 / max(height, width))
    pictures = np.empty(size, dtype=np.uint8)
    for row in range(batch):
        layers = []
        for _ in range(3):
            noise = np.fft.rfft2(random.standard_normal((height, width)))
            layer = np.fft.irfft2(noise * falloff, s=(height, width))
            layers.append((layer - layer.mean()) / layer.std())
        grey, red, blue = layers  # colours vary less than brightness
        channels = (grey + 0.3 * red, grey, grey + 0.3 * blue)
        pictures[row] = np.clip(128 + 55 * np.stack(channels, axis=-1), 0, 255)
    return pictures


def _with_outliers(name: str, array: Array, random: np.random.Generator) -> Array:
    if array.dtype == np.float32:
        loud = array.astype(np.float32)
        columns = random.choice(loud.shape[-1], max(1, loud.shape[-1] // 128), replace=False)
        loud[..., columns] *= 50
        return loud
    if name == "frames":
        glaring = (array.astype(np.float32) - 128) * 4 + 128  # burnt out and drowned in black
        return np.clip(glaring, 0, 255).astype(np.uint8)
    return array
