"""The choice between the forms that INT8 can have on a CPU: static ranges, or dynamic ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from vtloc_calibration.quantize.histograms import RANGE_METHODS
from vtloc_calibration.quantize.sensitivity import (
    Granularity,
    Ranges,
    best_method,
    dynamic_trial,
    int8_trials,
)
from vtloc_calibration.quantize.speedup import WORTH_IT, measure_payoff

if TYPE_CHECKING:
    from vtloc_calibration.quantize.qdq import Processor
    from vtloc_calibration.quantize.sensitivity import Study
    from vtloc_calibration.quantize.trials import AnswerTrial, NetworkTrial
    from vtloc_calibration.samples.samples import Samples
    from vtloc_runtime.bundle.bundle import Bundle
    from vtloc_runtime.bundle.manifest import NetworkName
    from vtloc_runtime.networks.interface import Array


def int8_forms(
    bundle: Bundle,
    network: NetworkName,
    samples: Samples,
    *,
    answers: AnswerTrial | None,
    granularity: Granularity,
    ranges: Ranges | None,
    base: str | None,
    processor: Processor,
) -> dict[Ranges, NetworkTrial]:
    """The forms that a network may have: the best static ranges, and dynamic ones on a CPU.

    Args:
        bundle: The bundle that has the network.
        network: Which network.
        samples: Real inputs.
        answers: Asks the bundle as well.
        granularity: Whether whole modules or single products are lowered.
        ranges: The one form to try; None tries all, dynamic ranges where they lower anything.
        base: The precision of everything else; None takes FP32.
        processor: Where the graph will run.
    """
    found: dict[Ranges, NetworkTrial] = {}
    if ranges != "dynamic":
        trials = int8_trials(
            bundle,
            network,
            samples,
            methods=RANGE_METHODS if ranges is None else (ranges,),
            answers=answers,
            granularity=granularity,
            base=base,
            processor=processor,
        )
        method = best_method(trials)
        found[method] = trials[method]
    if ranges == "dynamic" or (ranges is None and processor == "cpu"):
        trial = dynamic_trial(bundle, network, samples, answers=answers, granularity=granularity)
        if trial.modules or not found:
            found["dynamic"] = trial
    return found


def fastest_form(
    network: NetworkName,
    trials: Mapping[Ranges, NetworkTrial],
    studied: Callable[[Ranges, NetworkTrial], Study],
    calls: Sequence[Mapping[str, Array]],
) -> tuple[Study, bytes]:
    """Study the forms of a network, and choose the fastest that is within the bounds.

    They are studied in the order of their speed with everything lowered, about equally fast ones in
    that of their error. Islands only slow a form down, so a form is left out where it could not be
    faster than one that was studied.

    Args:
        network: Which network.
        trials: The network in each form.
        studied: Chooses the islands of a form.
        calls: Real inputs to time the network on.

    Returns:
        The study and the network; where no form is within the bounds, those of the first one.

    Raises:
        ValueError: There is no form.
    """

    def written(ranges: Ranges, modules: frozenset[str]) -> bytes:
        content: bytes = trials[ranges].lowered(modules).SerializeToString()
        return content

    speeds = dict.fromkeys(trials, 0.0)
    if len(trials) > 1:
        full = {way: written(way, frozenset(trial.modules)) for way, trial in trials.items()}
        speeds = _speeds(network, full, calls)
    best: tuple[Study, bytes] | None = None
    broken: tuple[Study, bytes] | None = None
    reached = 0.0
    for way in _order(trials, speeds):
        if best is not None and speeds[way] < WORTH_IT * reached:
            continue
        study = studied(way, trials[way])
        found = study, written(way, study.choice.lowered)
        if not study.choice.holds:
            broken = broken or found
            continue
        speed = speeds[way]
        if study.choice.islands and len(trials) > 1:
            speed = _speeds(network, {way: found[1]}, calls)[way]
        if best is None or speed >= WORTH_IT * reached:
            best, reached = found, speed
    chosen = best or broken
    if chosen is None:
        raise ValueError("no form was given")
    return chosen


def _order(trials: Mapping[Ranges, NetworkTrial], speeds: Mapping[Ranges, float]) -> list[Ranges]:
    slowest = max(speeds.values()) / WORTH_IT

    def key(way: Ranges) -> tuple[float, float]:
        trial = trials[way]
        if speeds[way] < slowest:
            return -speeds[way], 0.0
        everything = frozenset(trial.modules)
        return -math.inf, trial.measure_outputs(everything).relative_l2

    return sorted(trials, key=key)


def _speeds(
    network: NetworkName, contents: Mapping[Ranges, bytes], calls: Sequence[Mapping[str, Array]]
) -> dict[Ranges, float]:
    found = measure_payoff({str(way): one for way, one in contents.items()}, network, calls)
    return {way: found.items_per_second[way] for way in contents}
