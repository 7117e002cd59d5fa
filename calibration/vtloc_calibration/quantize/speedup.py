"""Speed of INT8 on this machine, and a test build by TensorRT for another."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from vtloc_runtime.errors import EngineError
from vtloc_runtime.system.processors import INT8_INSTRUCTIONS, processor_instructions

if TYPE_CHECKING:
    from vtloc_runtime.bundle.bundle import Bundle
    from vtloc_runtime.bundle.manifest import NetworkName
    from vtloc_runtime.networks.interface import Array, Network

WORTH_IT = 1.1
"""How many times as fast a network must be to be worth anything else."""
_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Payoff:
    """Speed of a network in two precisions on this machine, one thread.

    Attributes:
        instructions: Instruction sets of the processor that matter here.
        items_per_second: By precision; frames, sentences or localizer rows.
    """

    instructions: tuple[str, ...]
    items_per_second: dict[str, float]

    def verdict(self, precision: str, base: str) -> str:
        """The result in one sentence, for the terminal."""
        gain = self.items_per_second[precision] / self.items_per_second[base]
        known = ", ".join(sorted(set(self.instructions) & INT8_INSTRUCTIONS))
        reason = f"it has {known}" if known else "it has no instructions for INT8"
        if gain < WORTH_IT:
            return (
                f"{precision} does not pay on this processor: {gain:.2f} times the speed of "
                f"{base} ({reason})"
            )
        return f"{precision} runs at {gain:.2f} times the speed of {base} here ({reason})"

    def to_json(self) -> dict[str, Any]:
        """The figures as plain JSON values."""
        return asdict(self)


def measure_payoff(
    variants: Mapping[str, bytes], network: NetworkName, calls: Sequence[Mapping[str, Array]]
) -> Payoff:
    """Time variants of a network in turns, and keep the best round of each.

    Args:
        variants: ONNX files by precision.
        network: The network of these variants.
        calls: Real inputs, in FP32.
    """
    from vtloc_runtime.networks.onnxruntime_backend import OnnxRuntimeNetwork

    opened: dict[str, Network] = {
        precision: OnnxRuntimeNetwork(network, content, threads=1)
        for precision, content in variants.items()
    }
    items = sum(len(next(iter(call.values()))) for call in calls)
    best = dict.fromkeys(opened, float("inf"))
    try:
        for _ in range(_ROUNDS):
            # In turns, so that a busy moment of the machine hits all alike.
            for precision, candidate in opened.items():
                fed = [
                    {
                        name: array.astype(candidate.inputs[name].dtype)
                        for name, array in call.items()
                    }
                    for call in calls
                ]
                began = time.perf_counter()
                for call in fed:
                    candidate.run(call)
                best[precision] = min(best[precision], time.perf_counter() - began)
    finally:
        for candidate in opened.values():
            candidate.close()
    return Payoff(
        processor_instructions(), {name: items / seconds for name, seconds in best.items()}
    )


@dataclass(frozen=True, slots=True)
class Compilation:
    """Outcome of a test build by TensorRT.

    Attributes:
        target: The compute capability.
        builder: Flavour and version.
        bytes: Size of the engine; None where it was refused.
        refusal: Why it was refused; None where it was built.
    """

    target: str
    builder: str
    bytes: int | None
    refusal: str | None

    def to_json(self) -> dict[str, Any]:
        """The outcome as plain JSON values."""
        return asdict(self)


def compile_variant(
    bundle: Bundle, network: NetworkName, precision: str, *, target: str = "sm80"
) -> Compilation:
    """Build an engine ahead of time to test whether TensorRT accepts a network; not kept.

    Args:
        bundle: The bundle that has the network.
        network: Which network.
        precision: Which variant.
        target: For which compute capability.

    Raises:
        MissingExtraError: TensorRT-RTX is not installed.
    """
    from vtloc_export.engines.builder import PlanRequest, build_plan
    from vtloc_export.engines.profiles import default_traffic, network_profiles
    from vtloc_export.engines.progress import SilentProgress
    from vtloc_export.engines.target import choose_builder
    from vtloc_runtime.bundle.engine_file import EngineSettings

    builder = choose_builder("tensorrt-rtx", target)
    named = f"TensorRT-RTX {builder.api.version}"
    file = bundle.variant(network, precision)
    request = PlanRequest(
        title=f"{network} {precision}",
        model=bundle.onnx(file).single("measuring an engine"),
        network=file,
        profiles=network_profiles(file.inputs, (default_traffic(bundle),)),
        settings=EngineSettings(),
    )
    try:
        plan = build_plan(builder, request, progress=SilentProgress(), record=lambda _line: None)
    except EngineError as error:
        return Compilation(target, named, None, str(error))
    return Compilation(target, named, len(plan.content), None)
