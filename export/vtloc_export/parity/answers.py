"""Parity of a bundle with its PyTorch model: tensors, answers, accuracy on labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vtloc.evaluation.metrics import Scores, score
from vtloc_export.errors import ParityError
from vtloc_export.network_export import runs_in_reference
from vtloc_export.networks import load_networks
from vtloc_export.parity.bounds import (
    ANSWER_BOUNDS,
    MOVED_SECONDS,
    AnswerBound,
    answer_bound,
    tensor_bound,
)
from vtloc_export.parity.comparison import (
    SMALL,
    OutputParity,
    compare,
    onnxruntime_evaluate,
    reference_evaluate,
    torch_evaluate,
)
from vtloc_export.parity.engines import engine_parity
from vtloc_export.parity.probes import probes
from vtloc_export.parity.questions import Question, labelled_questions, synthetic_questions
from vtloc_export.parity.torch_backend import TorchNetwork
from vtloc_export.precision.graph_check import LEAST_HALF, half_share
from vtloc_export.sources import load_source
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.errors import VtlocError
from vtloc_runtime.localize.localizer import Localizer

if TYPE_CHECKING:
    import torch

    from vtloc_runtime.bundle.manifest import NetworkName
    from vtloc_runtime.localize.spans.moments import Localization, Moment

SAME = MOVED_SECONDS
"""Seconds that the best moment's start and end may move and still count as the same answer."""
TIE = 0.01
"""Moments whose scores are this close, relatively, are one answer as good as the other."""


@dataclass(frozen=True, slots=True)
class TensorParity:
    """One network in one precision, against PyTorch in FP32.

    Attributes:
        network: Which network.
        precision: In what precision.
        arithmetic: What computed it.
        outputs: Its outputs.
        broken: What breaks the bound, or None.
    """

    network: str
    precision: str
    arithmetic: str
    outputs: tuple[OutputParity, ...]
    broken: str | None


@dataclass(frozen=True, slots=True)
class AnswerParity:
    """The whole chain in one precision on one backend, against PyTorch in FP32.

    Attributes:
        backend: What ran it.
        precision: In what precision.
        queries: Questions asked.
        same: Share of them whose best moment moved by less than ``SAME`` seconds, or to a
            near-tie.
        near_ties: Share of them whose best moment moved to one that the reference scores within
            ``TIE`` of its best. They count as the same, but lower the IoU.
        iou: Mean IoU of old and new best moments.
        drift: Points gained or lost on labelled data, by measure; empty without labels.
        broken: What breaks the bound, or None.
    """

    backend: str
    precision: str
    queries: int
    same: float
    near_ties: float
    iou: float
    drift: Mapping[str, float]
    broken: str | None


@dataclass(frozen=True, slots=True)
class ParityReport:
    """Everything that was verified about a bundle.

    Attributes:
        bundle: Its directory.
        tensors: Network by network.
        answers: The whole chain, by backend and precision.
        unverified: What could not be verified here, and why.
    """

    bundle: Path
    tensors: tuple[TensorParity, ...]
    answers: tuple[AnswerParity, ...]
    unverified: tuple[str, ...]

    @property
    def broken(self) -> tuple[str, ...]:
        """Every bound that is exceeded, in words."""
        tensors = (
            f"{item.network} in {item.precision}: {item.broken}"
            for item in self.tensors
            if item.broken
        )
        answers = (
            f"answers of {item.backend} in {item.precision}: {item.broken}"
            for item in self.answers
            if item.broken
        )
        return (*tensors, *answers)

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        plain = asdict(self)
        plain["bundle"] = str(self.bundle)
        plain["broken"] = list(self.broken)
        return plain


def verify_bundle(
    path: str | Path,
    *,
    data: str | Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> ParityReport:
    """Compare every precision and backend of a bundle with its PyTorch model in FP32.

    Args:
        path: The bundle.
        data: Labelled moments, as ``vtloc.annotations`` reads them; the
            videos are in its folder.
        progress: Called with the name of each step that starts.

    Raises:
        BundleError: The bundle is damaged, or does not hold the localizer's weights.
        EncoderError: An encoder cannot be loaded.
        AnnotationError: The labels cannot be read.
    """
    bundle = Bundle.open(path)
    questions = synthetic_questions() if data is None else labelled_questions(Path(data))
    progress("loading the PyTorch model")
    source = load_source(bundle.path)
    networks = load_networks(source)
    modules, widths = networks.modules, networks.widths
    tensors = []
    for network in modules:
        for precision in sorted(bundle.manifest.networks[network].variants):
            progress(f"{network} in {precision}")
            tensors.append(
                tensor_parity(bundle, network, precision, modules[network], widths[network])
            )
    engines, unverified = _engines(bundle, modules, widths, progress)
    progress("answers of PyTorch")
    references = {name: TorchNetwork(name, modules[name], widths[name]) for name in modules}
    # "No such moment" on both sides would pass for agreement, whatever the networks say.
    asked = bundle.always_answering()
    with Localizer(asked, dict(references), encoder="", batch=8) as localizer:
        expected = _ask(localizer, questions)
    answers, unasked = _answers(asked, questions, expected, progress)
    return ParityReport(bundle.path, (*tensors, *engines), answers, (*unverified, *unasked))


def tensor_parity(
    bundle: Bundle,
    network: NetworkName,
    precision: str,
    module: torch.nn.Module,
    widths: Mapping[str, int],
) -> TensorParity:
    """Measure one file of a bundle.

    Half precision is computed by ONNX's own evaluator, which rounds after every node: ONNX
    Runtime on a CPU would compute it in FP32. Encoders too large for that are run by ONNX
    Runtime, and the report says so.
    """
    import onnx

    variant = bundle.variant(network, precision)
    file = bundle.onnx(variant)
    reference = torch_evaluate(module, network)
    rounded = precision == "fp16" and runs_in_reference(network, module)
    if rounded:
        evaluate = reference_evaluate(onnx.load_from_string(file.single("the evaluator")))
        tried = probes(network, widths, SMALL[network], seed=2)
    else:
        evaluate = onnxruntime_evaluate(file, half=precision == "fp16")
        tried = probes(network, widths, seed=2)
    outputs = compare(network, evaluate, reference, tried)
    arithmetic = "onnx.reference" if rounded else "onnxruntime:cpu"
    judged = _judged(bundle, network, precision, arithmetic, outputs)
    if precision == "fp16" and half_share(onnx.load_from_string(file.content)) < LEAST_HALF:
        # Its numbers are right: FP32 in disguise is only slower, and larger.
        fault = "most of its weights are FP32, and an engine of it would compute in FP32"
        return replace(judged, broken=fault)
    return judged


def _judged(
    bundle: Bundle,
    network: NetworkName,
    precision: str,
    arithmetic: str,
    outputs: tuple[OutputParity, ...],
) -> TensorParity:
    bound = tensor_bound(bundle.manifest, precision)
    broken = (
        f"{item.output}: {reason}" for item in outputs if (reason := bound.broken_by(item.worst))
    )
    return TensorParity(network, precision, arithmetic, outputs, next(broken, None))


def answer_parity(
    backend: str,
    precision: str,
    questions: Sequence[Question],
    expected: Sequence[Localization],
    found: Sequence[Localization],
    *,
    bound: AnswerBound | None = None,
) -> AnswerParity:
    """Compare answers with the reference's, and with the labels where there are any."""
    pairs = list(zip(expected, found, strict=True))
    overlaps = [_overlap(old, new) for old, new in pairs]
    same = float(np.mean([_same(old, new) for old, new in pairs]))
    near_ties = same - float(np.mean([_stays(old, new) for old, new in pairs]))
    drift = _drift(questions, expected, found)
    iou = float(np.mean(overlaps))
    bound = bound or ANSWER_BOUNDS[precision]
    worst = max(drift.items(), key=lambda item: abs(item[1]), default=("", 0.0))
    answered = sum(old.best is not None for old in expected)
    broken = None
    if 2 * answered < len(expected):
        broken = (
            f"the PyTorch model answers {answered} of {len(expected)} questions: too few to compare"
        )
    elif same < bound.same:
        broken = f"{same:.1%} of the answers stay where they were, below {bound.same:.0%}"
    elif iou < bound.iou:
        broken = f"mean IoU with the reference's answers is {iou:.3f}, below {bound.iou}"
        if near_ties:
            broken += (
                f"; {near_ties:.1%} of the answers moved to a near-tie, as those of a network that "
                "is hardly trained do"
            )
    elif abs(worst[1]) > max(bound.drift, 100 / len(pairs)):
        broken = f"{worst[0]} moves by {worst[1]:+.2f} points, more than {bound.drift}"
    return AnswerParity(backend, precision, len(pairs), same, near_ties, iou, drift, broken)


def _answers(
    bundle: Bundle,
    questions: Sequence[Question],
    expected: Sequence[Localization],
    progress: Callable[[str], None],
) -> tuple[tuple[AnswerParity, ...], tuple[str, ...]]:
    answers, unverified = [], []
    for backend, precision in _chains(bundle):
        progress(f"answers of {backend} in {precision}")
        try:
            with Localizer.open(bundle, backend=backend, precision=precision) as localizer:
                found = _ask(localizer, questions)
        except VtlocError as error:
            if backend == "onnxruntime":
                raise
            unverified.append(f"{backend} in {precision}: {error}")
            continue
        bound = answer_bound(bundle.manifest, precision)
        answers.append(answer_parity(backend, precision, questions, expected, found, bound=bound))
    return tuple(answers), tuple(unverified)


def _engines(
    bundle: Bundle,
    modules: Mapping[NetworkName, torch.nn.Module],
    widths: Mapping[NetworkName, Mapping[str, int]],
    progress: Callable[[str], None],
) -> tuple[tuple[TensorParity, ...], tuple[str, ...]]:
    """Every network of every engine precision, where the engines run here."""
    found, unverified = [], []
    for backend, precision in _chains(bundle):
        if backend != "tensorrt":
            continue
        for network in modules:
            progress(f"{network} in {precision} by TensorRT")
            reference = torch_evaluate(modules[network], network)
            try:
                outputs, arithmetic = engine_parity(
                    bundle, network, precision, reference, widths[network]
                )
            except ParityError:
                raise
            except VtlocError as error:
                unverified.append(f"{network} in {precision} by TensorRT: {error}")
                continue
            found.append(_judged(bundle, network, precision, arithmetic, outputs))
    return tuple(found), tuple(unverified)


def _chains(bundle: Bundle) -> Iterator[tuple[str, str]]:
    networks = bundle.manifest.networks.values()
    shared = set.intersection(*(set(network.variants) for network in networks))
    for precision in sorted(shared):
        yield "onnxruntime", precision
    if bundle.engines.is_dir() and any(bundle.engines.glob("*.plan")):
        for precision in sorted(shared & {"fp32", "fp16", "int8"}):
            yield "tensorrt", precision


def _ask(localizer: Localizer, questions: Sequence[Question]) -> list[Localization]:
    answers: list[Localization] = []
    for question in questions:
        encoded = localizer.encode_video(question.video)
        answers += localizer.localize(encoded, list(question.queries), moments=5)
    return answers


def _overlap(old: Localization, new: Localization) -> float:
    if old.best is None or new.best is None:
        return float(old.best is new.best)
    return old.best.overlap(new.best)


def _stays(old: Localization, new: Localization) -> bool:
    """Whether the best moment stays where it was."""
    if old.best is None or new.best is None:
        return old.best is new.best
    return _apart(old.best, new.best) < SAME


def _same(old: Localization, new: Localization) -> bool:
    """Whether the best moment stays where it was, or moves to a near-tie."""
    if old.best is None or new.best is None:
        return old.best is new.best
    # Where the reference itself is torn between moments, either of them is its answer.
    tied = (item for item in old.moments if item.score >= (1 - TIE) * old.best.score)
    return any(_apart(item, new.best) < SAME for item in tied)


def _apart(one: Moment, other: Moment) -> float:
    """How far the ends of two moments are apart at most, seconds."""
    return max(abs(one.start - other.start), abs(one.end - other.end))


def _drift(
    questions: Sequence[Question], expected: Sequence[Localization], found: Sequence[Localization]
) -> dict[str, float]:
    if any(question.truth is None for question in questions):
        return {}
    truth = [moments for question in questions for moments in question.truth or ()]
    old, new = (_scores(truth, answers) for answers in (expected, found))
    drift = {
        f"R{rank}@{threshold:g}": new.recall[rank, threshold] - old.recall[rank, threshold]
        for rank, threshold in old.recall
    }
    return {**drift, "mIoU": new.mean_iou - old.mean_iou}


def _scores(truth: Sequence[tuple[Any, ...]], answers: Sequence[Localization]) -> Scores:
    return score((true, answer.moments) for true, answer in zip(truth, answers, strict=True))
