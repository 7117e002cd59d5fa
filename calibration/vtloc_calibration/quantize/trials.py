"""Try a network with some modules in lower precision: its outputs, and the bundle's answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from vtloc_calibration.errors import CalibrationError
from vtloc_calibration.quantize.island_search import AnswerDrift, Effect
from vtloc_calibration.quantize.onnx_graph import base_precision
from vtloc_calibration.scores.answers import without_calibration
from vtloc_export.parity.bounds import MOVED_SECONDS
from vtloc_export.parity.comparison import Evaluate, compare, onnxruntime_evaluate
from vtloc_export.parity.probes import Probe
from vtloc_runtime.errors import VideoError
from vtloc_runtime.system.closing import Closing
from vtloc_runtime.video.isolation.chunks import Read, ReadingEnd
from vtloc_runtime.video.isolation.decoder_process import DecoderProcess

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto

    from vtloc_calibration.scores.labelled import LabelledQuery
    from vtloc_export.parity.measures import Difference
    from vtloc_runtime.bundle.bundle import Bundle
    from vtloc_runtime.bundle.manifest import NetworkName
    from vtloc_runtime.localize.localizer import Localizer
    from vtloc_runtime.localize.spans.moments import Moment
    from vtloc_runtime.networks.interface import Array, Network

_BATCH = 8


@dataclass(frozen=True, slots=True)
class TaskAccuracy:
    """Accuracy of answers on labelled sentences.

    Attributes:
        recall: Share with an IoU of at least 0.5.
        overlap: Mean IoU.
    """

    recall: float
    overlap: float


@dataclass(frozen=True, slots=True, eq=False)
class _Footage:
    """One video, decoded once: its pictures, their features, and what is asked about it."""

    images: NDArray[np.uint8]
    times: NDArray[np.float64]
    duration: float
    features: NDArray[np.float32]
    queries: tuple[LabelledQuery, ...]


class AnswerTrial(Closing):
    """Asks a bundle the same sentences again and again, each time with another network.

    It holds networks open: use it in a ``with`` block, or call ``close``.

    Args:
        bundle: The bundle to ask.
        labelled: Sentences about videos; those that are not in their video are left out.
        frames: Pictures held in memory at most; videos beyond are left out.

    Raises:
        CalibrationError: No video can be read.
    """

    def __init__(
        self, bundle: Bundle, labelled: Sequence[LabelledQuery], *, frames: int = 1024
    ) -> None:
        from vtloc_runtime.networks.load import open_network

        self._bundle = without_calibration(bundle)
        self._networks: dict[NetworkName, Network] = {}
        self._footage: list[_Footage] = []
        with ExitStack() as opened:
            for name in bundle.manifest.network_names:
                network = open_network(bundle, name, precision=base_precision(bundle, name))
                self._networks[name] = opened.enter_context(network)
            self._read_videos(labelled, frames)
            self._before = self.answers({})
            self._opened = opened.pop_all()

    def _read_videos(self, labelled: Sequence[LabelledQuery], frames: int) -> None:
        localizer = self._localizer(self._networks)
        left = frames
        by_video: dict[str, list[LabelledQuery]] = {}
        for query in labelled:
            if query.present:
                by_video.setdefault(str(query.video), []).append(query)
        with DecoderProcess() as decoder:
            for queries in by_video.values():
                if left == 0:
                    break
                footage = _read(localizer, queries, most=left, read=decoder.read)
                if footage is not None:
                    self._footage.append(footage)
                    left -= len(footage.images)
        if not self._footage:
            raise CalibrationError("no labelled video can be read, so there is nothing to ask")

    def answers(self, replaced: Mapping[NetworkName, bytes]) -> tuple[Moment, ...]:
        """The best moment of every sentence.

        Args:
            replaced: ONNX files that replace the bundle's own networks.

        Raises:
            CalibrationError: A sentence got no answer.
        """
        from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo
        from vtloc_runtime.networks.onnxruntime_backend import OnnxRuntimeNetwork

        moments: list[Moment] = []
        with ExitStack() as opened:
            networks = dict(self._networks)
            for name, content in replaced.items():
                networks[name] = opened.enter_context(OnnxRuntimeNetwork(name, content))
            localizer = self._localizer(networks)
            for footage in self._footage:
                features = footage.features
                if "visual" in replaced:
                    features = _encode(localizer, footage.images)
                encoded = EncodedVideo(features, footage.times, footage.duration)
                asked = [query.query for query in footage.queries]
                for answer in localizer.localize(encoded, asked):
                    if answer.best is None:
                        raise CalibrationError("a sentence got no answer")
                    moments.append(answer.best)
        return tuple(moments)

    def drift(self, answers: Sequence[Moment]) -> AnswerDrift:
        """How far answers moved from those of the bundle's own networks."""
        pairs = list(zip(self._before, answers, strict=True))
        moved = [
            max(abs(old.start - new.start), abs(old.end - new.end)) >= MOVED_SECONDS - 1e-9
            for old, new in pairs
        ]
        overlap = [old.overlap(new) for old, new in pairs]
        before, after = self.accuracy(), self.accuracy(answers)
        return AnswerDrift(
            sentences=len(pairs),
            moved=float(np.mean(moved)),
            overlap=float(np.mean(overlap)),
            recall_lost=before.recall - after.recall,
            overlap_lost=before.overlap - after.overlap,
        )

    def accuracy(self, answers: Sequence[Moment] | None = None) -> TaskAccuracy:
        """Accuracy of answers; None scores those of the bundle's own networks."""
        given = self._before if answers is None else answers
        queries = [query for footage in self._footage for query in footage.queries]
        overlaps = np.array(
            [query.overlap(moment) for query, moment in zip(queries, given, strict=True)]
        )
        return TaskAccuracy(float((overlaps >= 0.5).mean()), float(overlaps.mean()))

    def close(self) -> None:
        """Free the networks."""
        self._opened.close()

    def _localizer(self, networks: Mapping[NetworkName, Network]) -> Localizer:
        from vtloc_runtime.localize.localizer import Localizer

        return Localizer(self._bundle, dict(networks), encoder="", batch=_BATCH)


def _read(
    localizer: Localizer, queries: Sequence[LabelledQuery], *, most: int, read: Read
) -> _Footage | None:
    """A video's pictures and features; None where it cannot be read or is too long."""
    images: list[NDArray[np.uint8]] = []
    times: list[NDArray[np.float64]] = []
    duration = None
    options = localizer.encoder.options()
    options = replace(options, limits=replace(options.limits, frames=most))
    try:
        for part in read(queries[0].video, options, _BATCH):
            if isinstance(part, ReadingEnd):
                duration = part.duration
                break
            images.append(part.images[part.index])
            times.append(part.times)
    except VideoError:
        return None
    if duration is None or not images:
        return None
    pictures = np.concatenate(images)
    return _Footage(
        pictures, np.concatenate(times), duration, _encode(localizer, pictures), tuple(queries)
    )


def _encode(localizer: Localizer, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    parts = [
        localizer.encoder.run(images[top : top + _BATCH]) for top in range(0, len(images), _BATCH)
    ]
    return np.concatenate(parts)


class NetworkTrial:
    """Measures one network with some of its modules lowered.

    Args:
        network: Which network.
        reference: Its graph in FP32.
        lower: Gives the graph with some nodes, by name, lowered.
        modules: The nodes of each module.
        calls: Real inputs to compare outputs on.
        answers: Asks the bundle as well, where given.
        half: Whether lowered graphs take their floating inputs in FP16.
    """

    def __init__(
        self,
        network: NetworkName,
        reference: ModelProto,
        lower: Callable[[frozenset[str]], ModelProto],
        *,
        modules: Mapping[str, frozenset[str]],
        calls: Sequence[Mapping[str, Array]],
        answers: AnswerTrial | None = None,
        half: bool = False,
    ) -> None:
        self.network = network
        self.modules = modules
        self._half = half
        self._lower = lower
        self._answers = answers
        self._calls = [Probe(f"sample {index}", dict(call)) for index, call in enumerate(calls)]
        evaluate = onnxruntime_evaluate(reference.SerializeToString())
        self._expected = {id(call.inputs): evaluate(call.inputs) for call in self._calls}
        self._known: dict[frozenset[str], Effect] = {}
        self._known_outputs: dict[frozenset[str], Effect] = {}

    def lowered(self, modules: frozenset[str]) -> ModelProto:
        """The graph with these modules lowered."""
        return self._lower(frozenset().union(*(self.modules[module] for module in modules)))

    def measure(self, modules: frozenset[str]) -> Effect:
        """The effect of lowering these modules on outputs, and on answers where they are asked."""
        if modules not in self._known:
            outputs = self.measure_outputs(modules)
            if self._answers is None:
                return outputs
            content = self.lowered(modules).SerializeToString()
            drift = self._answers.drift(self._answers.answers({self.network: content}))
            self._known[modules] = replace(outputs, answers=drift)
        return self._known[modules]

    def measure_outputs(self, modules: frozenset[str]) -> Effect:
        """The effect of lowering these modules on outputs alone; each set is measured once."""
        if modules not in self._known_outputs:
            content = self.lowered(modules).SerializeToString()
            evaluate = onnxruntime_evaluate(content, half=self._half)
            self._known_outputs[modules] = Effect(self._tensors(evaluate))
        return self._known_outputs[modules]

    def _tensors(self, evaluate: Evaluate) -> dict[str, Difference]:
        def expected(inputs: Mapping[str, Array]) -> dict[str, Array]:
            return self._expected[id(inputs)]

        found = compare(self.network, evaluate, expected, self._calls)
        return {parity.output: parity.worst for parity in found}
