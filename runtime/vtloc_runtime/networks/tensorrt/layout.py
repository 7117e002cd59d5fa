"""What an engine takes and gives, read from the engine itself and checked against its sidecar."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from vtloc_runtime.errors import EngineError, NetworkError
from vtloc_runtime.networks.interface import TensorSpec
from vtloc_runtime.networks.tensorrt.api import numpy_dtype

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from vtloc_runtime.bundle.engine_file import AxisRange, Engine
    from vtloc_runtime.bundle.manifest import TensorEntry
    from vtloc_runtime.networks.tensorrt.api import TensorrtApi

Shape = tuple[int, ...]

BATCH = "batch"
STEPS = {"frames": 32, "tokens": 8}
"""Lengths that padding rounds up to; batches go up to powers of two."""


@dataclass(frozen=True, slots=True)
class EngineLayout:
    """Inputs, outputs and profiles of an engine.

    Attributes:
        inputs: Every input, with the widest limits over all profiles.
        outputs: Every output.
        profiles: For each profile, the range of every dynamic axis.
    """

    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]
    profiles: tuple[dict[str, AxisRange], ...]

    @classmethod
    def read(cls, api: TensorrtApi, cuda_engine: Any, engine: Engine) -> EngineLayout:
        """Read the layout of a deserialized engine.

        Args:
            api: The flavour of TensorRT that loaded it.
            cuda_engine: TensorRT's engine.
            engine: The plan and its sidecar.

        Raises:
            EngineError: The engine is not the one that its sidecar describes.
        """
        profiles = engine.identity.profiles
        entries = {entry.name: entry for entry in (*engine.sidecar.inputs, *engine.sidecar.outputs)}
        found = {cuda_engine.get_tensor_name(index) for index in range(cuda_engine.num_io_tensors)}
        _expect(engine, "tensors", sorted(found), sorted(entries))
        _expect(engine, "profiles", cuda_engine.num_optimization_profiles, len(profiles))
        limits = _widest(profiles, _paddable(engine.sidecar.inputs))
        specs: dict[str, TensorSpec] = {}
        for name, entry in entries.items():
            dtype = numpy_dtype(api, cuda_engine.get_tensor_dtype(name)).name
            _expect(engine, f"dtype of {name!r}", dtype, entry.dtype)
            specs[name] = TensorSpec(name, dtype, entry.shape, limits)
        for entry in engine.sidecar.inputs:
            mode = cuda_engine.get_tensor_mode(entry.name)
            _expect(engine, f"mode of {entry.name!r}", mode, api.module.TensorIOMode.INPUT)
            for index, profile in enumerate(profiles):
                shapes = cuda_engine.get_tensor_profile_shape(entry.name, index)
                _expect(
                    engine,
                    f"profile {index} of {entry.name!r}",
                    [tuple(shape) for shape in shapes],
                    profile_shapes(entry, profile),
                )
        return cls(
            {entry.name: specs[entry.name] for entry in engine.sidecar.inputs},
            {entry.name: specs[entry.name] for entry in engine.sidecar.outputs},
            profiles,
        )

    def dtype(self, tensor: str) -> np.dtype[Any]:
        """The numpy dtype of an input or output."""
        return np.dtype((self.inputs.get(tensor) or self.outputs[tensor]).dtype)

    def bucket(self, shapes: Mapping[str, Shape], profile: int) -> dict[str, Shape]:
        """The shapes that these inputs are padded to, so that few different ones reach the engine.

        Frames go up to multiples of 32, tokens of 8, batches to powers of two, all within the
        profile: CUDA graphs then recur, and a profile whose smallest length is above one serves
        shorter requests. Axes without a mask stay as they are.
        """
        lengths = self._lengths(shapes)
        padded = {
            axis: _bucketed(axis, length, self.profiles[profile].get(axis))
            if axis in self._paddable
            else length
            for axis, length in lengths.items()
        }
        return {name: _shape(spec, padded) for name, spec in self.inputs.items()}

    def output_shapes(self, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
        """The shapes of the outputs that belong to these inputs, without any padding."""
        lengths = self._lengths(shapes)
        return {name: _shape(spec, lengths) for name, spec in self.outputs.items()}

    def batches(self, shapes: Mapping[str, Shape], *, network: str) -> list[int]:
        """How to cut the batch so that each part fits a profile; one part where all fits.

        A profile for many short items and one for few long ones leave a corner that neither
        takes whole, though the second takes it in turns.

        Raises:
            NetworkError: No profile takes these shapes, in turns or at once.
        """
        lengths = self._lengths(shapes)
        whole = lengths.get("batch", 1)
        for size in range(whole, 0, -1):
            rest = whole % size
            parts = [size] * (whole // size) + ([rest] if rest else [])
            if all(self._fitting({**lengths, "batch": part}) for part in set(parts)):
                return parts
        asked = ", ".join(f"{axis} {length}" for axis, length in lengths.items())
        raise NetworkError(
            f"no profile of the engine takes {asked}; it has {self.describe_profiles()}",
            where=network,
            remedy="Send smaller batches, or build engines with wider profiles",
        )

    def choose_profile(self, shapes: Mapping[str, Shape]) -> int:
        """The tightest profile that takes these input shapes, which :meth:`batches` has cut."""
        return min(
            self._fitting(self._lengths(shapes)),
            key=lambda index: prod(span.max for span in self.profiles[index].values()),
        )

    def _lengths(self, shapes: Mapping[str, Shape]) -> dict[str, int]:
        return {
            axis: length
            for name, spec in self.inputs.items()
            for axis, length in zip(spec.shape, shapes[name], strict=True)
            if isinstance(axis, str)
        }

    @property
    def _paddable(self) -> frozenset[str]:
        return _paddable(self.inputs.values())

    def _fitting(self, lengths: Mapping[str, int]) -> list[int]:
        paddable = self._paddable
        return [
            index
            for index, profile in enumerate(self.profiles)
            if all(
                lengths[axis] <= span.max and (axis in paddable or span.min <= lengths[axis])
                for axis, span in profile.items()
            )
        ]

    def largest_inputs(self, profile: int) -> dict[str, Shape]:
        """The largest shape of every input in a profile."""
        ranges = self.profiles[profile]
        longest = {axis: span.max for axis, span in ranges.items()}
        return {name: _shape(spec, longest) for name, spec in self.inputs.items()}

    def describe_profiles(self) -> str:
        """The profiles in words, such as ``batch 1-32, frames 1-512``."""
        return " or ".join(
            ", ".join(f"{axis} {span.min}-{span.max}" for axis, span in profile.items())
            or "fixed shapes"
            for profile in self.profiles
        )


def profile_shapes(entry: TensorEntry, profile: Mapping[str, AxisRange]) -> list[Shape]:
    """Smallest, tuned and largest shape of an input in a profile."""
    return [
        tuple(n if isinstance(n, int) else getattr(profile[n], end) for n in entry.shape)
        for end in ("min", "opt", "max")
    ]


def _shape(spec: TensorSpec, lengths: Mapping[str, int]) -> Shape:
    return tuple(n if isinstance(n, int) else lengths[n] for n in spec.shape)


def _bucketed(axis: str, length: int, span: AxisRange | None) -> int:
    if span is None:
        return length
    if axis == BATCH:
        wanted = 1 << (length - 1).bit_length()
    else:
        wanted = -(-length // STEPS[axis]) * STEPS[axis]
    return max(length, span.min, min(wanted, span.max))


def _paddable(inputs: Iterable[TensorSpec | TensorEntry]) -> frozenset[str]:
    """The axes that padding does not change the answers along: the batch, and masked lengths."""
    masked = {axis for spec in inputs if spec.dtype == "bool" for axis in spec.shape}
    return frozenset({BATCH, *(axis for axis in STEPS if axis in masked)})


def _widest(
    profiles: tuple[dict[str, AxisRange], ...], paddable: frozenset[str]
) -> dict[str, tuple[int, int]]:
    axes = {axis for profile in profiles for axis in profile}
    return {
        axis: (
            1
            if axis in paddable
            else min(profile[axis].min for profile in profiles if axis in profile),
            max(profile[axis].max for profile in profiles if axis in profile),
        )
        for axis in sorted(axes)
    }


def _expect(engine: Engine, what: str, found: object, expected: object) -> None:
    if found != expected:
        raise EngineError(
            f"the plan is not what its sidecar says: {what} is {found}, not {expected}",
            where=engine.plan_path,
            remedy="Build the engine again with: vtloc-export trt BUNDLE --force",
        )
