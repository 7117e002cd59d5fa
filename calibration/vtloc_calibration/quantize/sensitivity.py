"""Sensitivity of each module to a lower precision, and the choice of modules to exclude."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from vtloc_calibration.quantize.dynamic import DynamicWriter, dynamic_candidates
from vtloc_calibration.quantize.histograms import RANGE_METHODS, RangeMethod
from vtloc_calibration.quantize.island_search import (
    Choice,
    ModuleEffect,
    ParityBounds,
    choose_islands,
    rank,
)
from vtloc_calibration.quantize.onnx_graph import base_graph, grouped, module_of_nodes
from vtloc_calibration.quantize.qdq import (
    ActivationRanges,
    Processor,
    candidates,
    count_activations,
    quantize,
)
from vtloc_calibration.quantize.simulated_fp16 import round_to_half
from vtloc_calibration.quantize.trials import NetworkTrial
from vtloc_export.parity.bounds import ANSWER_BOUNDS
from vtloc_export.parity.measures import BOUNDS

if TYPE_CHECKING:
    from onnx import ModelProto

    from vtloc_calibration.quantize.trials import AnswerTrial
    from vtloc_calibration.samples.samples import Samples
    from vtloc_runtime.bundle.bundle import Bundle
    from vtloc_runtime.bundle.manifest import NetworkName
    from vtloc_runtime.networks.interface import Array

LoweredPrecision = Literal["fp16", "int8"]
Granularity = Literal["module", "node"]
Ranges = Literal[RangeMethod, "dynamic"]
"""Where INT8's ranges come from: from samples, in three ways, or from each batch as it runs."""

PARITY_BOUNDS: Mapping[LoweredPrecision, ParityBounds] = {
    precision: ParityBounds(
        BOUNDS[precision],
        moved=1 - ANSWER_BOUNDS[precision].same,
        task=ANSWER_BOUNDS[precision].drift / 100,
    )
    for precision in get_args(LoweredPrecision)
}
"""Tolerances of each precision, on outputs and on answers, as bundles state them."""

_JUDGED_CALLS, _JUDGED_BATCH = 10, 4


@dataclass(frozen=True, slots=True)
class Study:
    """One network in one lower precision.

    Attributes:
        network: Which network.
        precision: The lower precision.
        method: How INT8's ranges were chosen; None for FP16.
        ranked: Every module alone and with all less sensitive ones, most sensitive first.
        choice: The islands that were chosen.
        bounds: The tolerances.
    """

    network: NetworkName
    precision: LoweredPrecision
    method: Ranges | None
    ranked: tuple[ModuleEffect, ...]
    choice: Choice
    bounds: ParityBounds

    def to_json(self) -> dict[str, Any]:
        """The study as plain JSON values."""
        found = asdict(self)
        found["choice"]["lowered"] = sorted(self.choice.lowered)
        return found

    def summary(self) -> dict[str, Any]:
        """The few figures that a bundle's manifest carries."""
        effect = self.choice.effect
        found: dict[str, Any] = {
            "islands": list(self.choice.islands),
            "holds": self.choice.holds,
            "relative_l2": effect.relative_l2,
            "cosine": effect.cosine,
        }
        if self.method is not None:
            found["ranges"] = self.method
        if effect.answers is not None:
            found["sentences"] = effect.answers.sentences
            found["answers_moved"] = effect.answers.moved
            found["answers_overlap"] = effect.answers.overlap
            found["recall_lost"] = effect.answers.recall_lost
            found["overlap_lost"] = effect.answers.overlap_lost
        return found


def half_trial(
    bundle: Bundle,
    network: NetworkName,
    samples: Samples,
    *,
    answers: AnswerTrial | None = None,
    granularity: Granularity = "module",
) -> NetworkTrial:
    """Try a network's modules in half precision.

    Args:
        bundle: The bundle that has the network.
        network: Which network.
        samples: Real inputs.
        answers: Asks the bundle as well.
        granularity: Whether whole modules or single nodes are lowered.
    """
    model = base_graph(bundle, network)

    def lower(nodes: frozenset[str]) -> ModelProto:
        return round_to_half(model, nodes)

    return NetworkTrial(
        network,
        model,
        lower,
        modules=_modules(model, [node.name for node in model.graph.node], granularity),
        calls=_judged(samples, network),
        answers=answers,
    )


def int8_trials(
    bundle: Bundle,
    network: NetworkName,
    samples: Samples,
    *,
    methods: Sequence[RangeMethod] = RANGE_METHODS,
    answers: AnswerTrial | None = None,
    granularity: Granularity = "module",
    base: str | None = None,
    processor: Processor = "gpu",
) -> dict[RangeMethod, NetworkTrial]:
    """Try a network's modules in INT8, by each way to choose ranges.

    Ranges are counted once, on three quarters of the samples; the rest judges.

    Args:
        bundle: The bundle that has the network.
        network: Which network.
        samples: Real inputs.
        methods: Ways to choose ranges.
        answers: Asks the bundle as well.
        granularity: Whether whole modules or single products are lowered.
        base: The precision of everything else; None takes FP32.
        processor: Where the graph will run: ``"cpu"`` or ``"gpu"``.
    """
    counted, judged = samples.split()
    model = base_graph(bundle, network, precision=base)
    histograms = count_activations(model, counted.batches(network))
    modules = _modules(model, candidates(model), granularity)
    reference = base_graph(bundle, network)
    return {
        method: NetworkTrial(
            network,
            reference,
            _quantizer(model, ActivationRanges.from_histograms(histograms, method), processor),
            modules=modules,
            calls=_judged(judged, network),
            answers=answers,
            half=base == "fp16",
        )
        for method in methods
    }


def dynamic_trial(
    bundle: Bundle,
    network: NetworkName,
    samples: Samples,
    *,
    answers: AnswerTrial | None = None,
    granularity: Granularity = "module",
) -> NetworkTrial:
    """Try a network's modules in INT8 with ranges that are measured as it runs, on a CPU.

    Args:
        bundle: The bundle that has the network.
        network: Which network.
        samples: Real inputs; the quarter that judges static ranges judges here too.
        answers: Asks the bundle as well.
        granularity: Whether whole modules or single products are lowered.
    """
    model = base_graph(bundle, network)
    return NetworkTrial(
        network,
        model,
        DynamicWriter(model).write,
        modules=_modules(model, dynamic_candidates(model), granularity),
        calls=_judged(samples.split()[1], network),
        answers=answers,
    )


def best_method(trials: Mapping[RangeMethod, NetworkTrial]) -> RangeMethod:
    """The way to choose ranges whose fully lowered network is closest to FP32."""
    errors = {
        method: trial.measure_outputs(frozenset(trial.modules)).relative_l2
        for method, trial in trials.items()
    }
    return min(errors, key=lambda method: errors[method])


def study(
    trial: NetworkTrial,
    precision: LoweredPrecision,
    *,
    method: Ranges | None = None,
    bounds: ParityBounds | None = None,
    rank_answers: bool = True,
    progress: Callable[[int], None] | None = None,
) -> Study:
    """Measure every module, and choose the islands.

    Islands are chosen on outputs and, where the trial asks for them, on answers.

    Args:
        trial: The network.
        precision: What its modules are lowered to.
        method: How INT8's ranges were chosen.
        bounds: The tolerances; None takes ``PARITY_BOUNDS``.
        rank_answers: Whether every module's effect on answers is measured too; modules are
            ranked by outputs either way.
        progress: Called with the number of measurements done, of twice as many as modules.
    """
    limit = bounds or PARITY_BOUNDS[precision]
    measure = trial.measure if rank_answers else trial.measure_outputs
    ranked = rank(tuple(trial.modules), measure, progress=progress)
    choice = choose_islands([effect.module for effect in ranked], trial.measure, limit)
    return Study(trial.network, precision, method, ranked, choice, limit)


def _quantizer(
    model: ModelProto, ranges: ActivationRanges, processor: Processor
) -> Callable[[frozenset[str]], ModelProto]:
    return lambda nodes: quantize(model, ranges, nodes=nodes, processor=processor)


def _modules(
    model: ModelProto, nodes: Sequence[str], granularity: Granularity
) -> dict[str, frozenset[str]]:
    if granularity == "node":
        return {name: frozenset({name}) for name in nodes}
    return grouped(nodes, module_of_nodes(model))


def _judged(samples: Samples, network: NetworkName) -> list[Mapping[str, Array]]:
    calls = list(samples.batches(network, size=_JUDGED_BATCH))
    # Evenly spread, so that every video has its say.
    step = max(1, len(calls) // _JUDGED_CALLS)
    return calls[::step][:_JUDGED_CALLS]
