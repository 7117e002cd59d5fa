"""The smallest set of modules that must keep a higher precision, found by measuring.

Modules are lowered one at a time to rank them, then all together but for a few islands. Lowering
one more module can only be hoped to make things worse, so every set that is chosen was measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vtloc_export.parity.measures import Bound, Difference


@dataclass(frozen=True, slots=True)
class AnswerDrift:
    """How far the answers to the same sentences moved.

    Attributes:
        sentences: How many were asked.
        moved: Share whose best moment starts or ends at least 0.1 s elsewhere.
        overlap: Mean IoU of the old and the new best moment.
        recall_lost: How much less often answers are right (IoU of at least 0.5); negative where
            they are right more often.
        overlap_lost: How much lower their mean IoU with the labels is.
    """

    sentences: int
    moved: float
    overlap: float
    recall_lost: float = 0.0
    overlap_lost: float = 0.0


@dataclass(frozen=True, slots=True)
class Effect:
    """The effect of lowering some modules.

    Attributes:
        tensors: Difference of each output of the network.
        answers: Drift of the answers; None where none were asked for.
    """

    tensors: dict[str, Difference]
    answers: AnswerDrift | None = None

    @property
    def relative_l2(self) -> float:
        """The worst output's; infinite where an output is not finite."""
        found = [difference.relative_l2 for difference in self.tensors.values()]
        return max((value if math.isfinite(value) else math.inf for value in found), default=0.0)

    @property
    def cosine(self) -> float:
        """The worst output's."""
        return min((difference.cosine for difference in self.tensors.values()), default=1.0)


@dataclass(frozen=True, slots=True)
class ParityBounds:
    """Tolerances of a lowered network.

    Attributes:
        tensors: Of every output.
        moved: Largest share of answers that may move by 0.1 s or more; None sets no bound.
        task: How much R@0.5 and mIoU may fall; None sets no bound. One sentence may always change
            sides, or few sentences would allow none.
    """

    tensors: Bound
    moved: float | None = None
    task: float | None = None

    def broken_by(self, effect: Effect) -> str | None:
        """The first bound that is exceeded, in words; None where all hold."""
        for output, difference in effect.tensors.items():
            if broken := self.tensors.broken_by(difference):
                return f"{output}: {broken}"
        return None if effect.answers is None else self._broken_by_answers(effect.answers)

    def _broken_by_answers(self, answers: AnswerDrift) -> str | None:
        if self.moved is not None and answers.moved > self.moved + 1e-9:
            return f"{answers.moved:.1%} of answers move, {self.moved:.1%} may"
        if self.task is None:
            return None
        if answers.recall_lost > max(self.task, 1 / answers.sentences) + 1e-9:
            return f"R@0.5 falls by {answers.recall_lost:.1%}, {self.task:.1%} is allowed"
        if answers.overlap_lost > self.task:
            return f"mIoU falls by {answers.overlap_lost:.1%}, {self.task:.1%} is allowed"
        return None


Measure = Callable[[frozenset[str]], Effect]
"""Measures a network with some modules, by name, in lower precision."""


@dataclass(frozen=True, slots=True)
class ModuleEffect:
    """One module on its own, and with all less sensitive ones.

    Attributes:
        module: Its name.
        alone: The effect of lowering it and nothing else.
        together: The effect of lowering it and every less sensitive module.
    """

    module: str
    alone: Effect
    together: Effect


@dataclass(frozen=True, slots=True)
class Choice:
    """The set that was chosen.

    Attributes:
        islands: Modules that keep the higher precision, most sensitive first.
        lowered: Modules that are lowered.
        effect: What that does, measured.
        reason: Why lowering everything is not enough; None where it is.
        holds: Whether the bounds hold.
    """

    islands: tuple[str, ...]
    lowered: frozenset[str]
    effect: Effect
    reason: str | None
    holds: bool


def rank(
    modules: Sequence[str], measure: Measure, *, progress: Callable[[int], None] | None = None
) -> tuple[ModuleEffect, ...]:
    """Lower every module on its own, then one after another, least sensitive first.

    Args:
        modules: Their names.
        measure: What to measure with.
        progress: Called with the number of measurements done, of twice as many as modules.

    Returns:
        Most sensitive first, by the relative L2 of the worst output.
    """
    alone: dict[str, Effect] = {}
    for module in modules:
        alone[module] = measure(frozenset({module}))
        if progress is not None:
            progress(len(alone))
    order = sorted(modules, key=lambda module: alone[module].relative_l2)
    found: list[ModuleEffect] = []
    for count, module in enumerate(order, start=1):
        together = alone[module] if count == 1 else measure(frozenset(order[:count]))
        found.append(ModuleEffect(module, alone[module], together))
        if progress is not None:
            progress(len(alone) + count)
    return tuple(reversed(found))


def choose_islands(ranked: Sequence[str], measure: Measure, bounds: ParityBounds) -> Choice:
    """Find few modules that must keep the higher precision for the bounds to hold.

    First the shortest run of most sensitive modules that is enough, by halving; then each of
    them, least sensitive first, is lowered after all where the bounds still hold. No module of
    the result can be lowered alone without breaking them.

    Args:
        ranked: Modules, most sensitive first.
        measure: What to measure with.
        bounds: What must hold.

    Returns:
        The choice; where not even lowering nothing holds, every module is an island.
    """
    everything = frozenset(ranked)
    first = measure(everything)
    reason = bounds.broken_by(first)
    if reason is None:
        return Choice((), everything, first, None, holds=True)
    low, high = 1, len(ranked)
    while low < high:
        middle = (low + high) // 2
        if bounds.broken_by(measure(everything - set(ranked[:middle]))) is None:
            high = middle
        else:
            low = middle + 1
    islands = list(ranked[:high])
    effect = measure(everything - set(islands))
    if bounds.broken_by(effect) is not None:
        return Choice(tuple(islands), everything - set(islands), effect, reason, holds=False)
    for module in reversed(tuple(islands)):
        fewer = [island for island in islands if island != module]
        tried = measure(everything - set(fewer))
        if bounds.broken_by(tried) is None:
            islands, effect = fewer, tried
    return Choice(tuple(islands), everything - set(islands), effect, reason, holds=True)
