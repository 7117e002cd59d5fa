"""Compare a bundle with its PyTorch model: tensors, answers, accuracy on labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vtloc_export.errors import ParityError
from vtloc_export.network_export import runs_in_reference
from vtloc_export.networks import load_networks
from vtloc_export.parity.answers import answer_parity
from vtloc_export.parity.bounds import (
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
from vtloc_export.parity.report import AnswerParity, ParityReport, TensorParity
from vtloc_export.parity.torch_backend import TorchNetwork
from vtloc_export.precision.graph_check import LEAST_HALF, half_share
from vtloc_export.sources import load_source
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.errors import VtlocError
from vtloc_runtime.localize.localizer import Localizer

if TYPE_CHECKING:
    import torch

    from vtloc_runtime.bundle.manifest import NetworkName
    from vtloc_runtime.localize.spans.moments import Localization


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
