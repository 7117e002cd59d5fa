"""Answers to questions about encoded videos: logits, curves, presence, spans, moments, scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, get_args

import numpy as np

from vtloc_runtime.bundle.manifest import DecodingStrategy
from vtloc_runtime.errors import BackendError, UsageError
from vtloc_runtime.localize.encoding.sketch import sum_over_neighbours
from vtloc_runtime.localize.presence.comparison import Compared, Comparison
from vtloc_runtime.localize.spans.change_points import change_points, squared_steps
from vtloc_runtime.localize.spans.decoding import decode
from vtloc_runtime.localize.spans.moments import Localization, SimilarityCurve
from vtloc_runtime.localize.spans.span_times import (
    longest_moment,
    longest_span,
    span_reach,
    to_moments,
)
from vtloc_runtime.localize.spans.windowed_logits import (
    SENTENCES_AT_ONCE,
    BoundaryLogits,
    FrameLogits,
    word_alignment,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vtloc_runtime.bundle.bundle import Bundle
    from vtloc_runtime.bundle.manifest import SharedSpace
    from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo
    from vtloc_runtime.localize.questions.question import EncodedQuestion
    from vtloc_runtime.localize.spans.moments import Moment
    from vtloc_runtime.localize.spans.occurrences import IntArray
    from vtloc_runtime.networks.interface import Network

_BY_SIMILARITY = frozenset({"similarity", "combined"})
"""Strategies that compare frames and sentences in the space that they share."""


class Answering:
    """Answers questions as a bundle says; safe to call from several threads.

    Args:
        bundle: The bundle.
        network: Its localizer network; None where it has none.
        decoding: How logits become moments; None does as the bundle says.

    Raises:
        UsageError: There is no such decoding, or it needs a localizer network.
        BackendError: It needs a space that frames and sentences share.
        BundleError: A file that sentences are compared with is altered.
    """

    def __init__(self, bundle: Bundle, network: Network | None, *, decoding: str | None) -> None:
        manifest = bundle.manifest
        self._bundle = bundle
        self._strategy = _check_strategy(bundle, decoding or manifest.decoding.strategy)
        self._boundaries = None if network is None else BoundaryLogits(network, manifest.windows)
        # Calibration holds for the bundle's own way of decoding alone.
        own = self._strategy == manifest.decoding.strategy
        self._calibration = manifest.score_calibration if own else None
        # Presence does not depend on it, but a decoding that was asked for always answers.
        self._comparison = Comparison.of_bundle(bundle if own else bundle.always_answering())

    def check_alignment(self) -> None:
        """Refuse an alignment that nothing gives.

        Raises:
            UsageError: The bundle has no localizer network.
        """
        if self._boundaries is None:
            raise UsageError(
                "the bundle has no localizer network, which the alignment comes from",
                where=self._bundle.path,
                remedy="Ask without alignment, or open a bundle with a trained localizer",
            )

    def direction(self, question: EncodedQuestion) -> NDArray[np.floating]:
        """The vector ``[Ds]`` that frames are compared with in a second look.

        Args:
            question: What is asked.
        """
        if self._comparison is None:
            return question.sentences[0].sentence
        return self._comparison.direction(question)

    def answer(
        self,
        video: EncodedVideo,
        questions: Sequence[EncodedQuestion],
        moments: int,
        *,
        alignment: bool = False,
        curve: bool = False,
        always: bool = False,
    ) -> list[Localization]:
        """Answer questions about a video, in their order.

        Args:
            video: The video, encoded by the bundle's visual network.
            questions: What is asked.
            moments: Moments of each at most.
            alignment: Whether to say, too, which words each frame has to do with.
            curve: Whether to say, too, how close each frame is to the question.
            always: Whether to find moments even if the video is taken not to show any.

        Raises:
            NetworkError: The localizer network failed, or a number is not finite.
        """
        limit = SENTENCES_AT_ONCE if self._boundaries is None else self._boundaries.rows
        answers: list[Localization] = []
        for top in range(0, len(questions), limit):
            group = questions[top : top + limit]
            answers += self._group(
                video, group, moments, alignment=alignment, curve=curve, always=always
            )
        return answers

    def _group(
        self,
        video: EncodedVideo,
        questions: Sequence[EncodedQuestion],
        moments: int,
        *,
        alignment: bool,
        curve: bool,
        always: bool,
    ) -> list[Localization]:
        curved = self._strategy in _BY_SIMILARITY or any(not one.sentences for one in questions)
        compared: list[Compared | None] = [None] * len(questions)
        if self._comparison is not None and (curve or curved or self._comparison.tells_presence):
            compared = [*self._comparison.compare(video, questions)]
        # Most videos do not show most sentences: what only finds moments is left out for those.
        searched = [always or seen is None or seen.shown for seen in compared]
        if not (alignment or any(searched)):
            return [
                _without_moments(question, None, seen, video.times, curve=curve)
                for question, seen in zip(questions, compared, strict=True)
            ]
        timeline = self._timeline(video, cut=curved and any(searched))
        logits: list[FrameLogits | None] = [None] * len(questions)
        # By similarity alone the curve decides; the localizer network has nothing to say.
        if self._boundaries is not None and (alignment or self._strategy != "similarity"):
            logits = self._boundaries.of_wordings(
                video.table,
                [
                    one.sentences if wanted or alignment else ()
                    for one, wanted in zip(questions, searched, strict=True)
                ],
                reach=timeline.longest,
                alignment=alignment,
            )
        answers = []
        for question, own, seen, wanted in zip(questions, logits, compared, searched, strict=True):
            answer = _without_moments(question, own, seen, video.times, curve=curve)
            if wanted:
                found = self._moments(question, own, seen, timeline, count=moments)
                answer = replace(answer, moments=found)
            answers.append(answer)
        return answers

    def _timeline(self, video: EncodedVideo, *, cut: bool) -> _Timeline:
        manifest, begins = self._bundle.manifest, video.begins
        return _Timeline(
            begins,
            video.duration,
            longest_span(begins, video.duration, manifest),
            span_reach(begins, video.duration, manifest),
            _boundaries_of(video, manifest.shared_space) if cut else None,
        )

    def _moments(
        self,
        question: EncodedQuestion,
        logits: FrameLogits | None,
        seen: Compared | None,
        timeline: _Timeline,
        *,
        count: int,
    ) -> tuple[Moment, ...]:
        """The best moments of one question."""
        # A picture has no tokens for the localizer network.
        strategy = self._strategy if question.sentences else "similarity"
        silent = np.zeros(len(timeline.begins))
        spans = decode(
            strategy,
            silent if logits is None else logits.starts[0],
            silent if logits is None else logits.ends[0],
            longest=timeline.longest,
            reach=timeline.reach,
            curve=None if seen is None else seen.curve,
            boundaries=timeline.boundaries,
            count=count,
            similarity_weight=self._bundle.manifest.decoding.similarity_weight,
        )
        if seen is not None and strategy == "similarity":
            spans = tuple(replace(span, score=span.score * seen.likelihood) for span in spans)
        return to_moments(
            spans,
            timeline.begins,
            timeline.duration,
            longest=longest_moment(self._bundle.manifest),
            calibration=self._calibration if strategy == self._strategy else None,
            margin=None if seen is None else seen.margin,
        )


@dataclass(frozen=True, slots=True)
class _Timeline:
    """Where moments of a video may lie, whatever is asked.

    Attributes:
        begins: When each frame appears, seconds ``[T]``.
        duration: The video's end, seconds.
        longest: Most frames of a span.
        reach: For each frame, the one after the last of the longest span from there ``[T]``.
        boundaries: Frames at which a span may begin; None unless spans follow the curve.
    """

    begins: NDArray[np.float64]
    duration: float
    longest: int
    reach: IntArray
    boundaries: IntArray | None


def _without_moments(
    question: EncodedQuestion,
    logits: FrameLogits | None,
    seen: Compared | None,
    times: NDArray[np.float64],
    *,
    curve: bool,
) -> Localization:
    """All of an answer that does not depend on its moments."""
    asked = question.question
    alignment = None
    if logits is not None:
        alignment = word_alignment(logits, 0, question.sentences[0], times)
    return Localization(
        asked.sentence,
        (),
        question.warnings,
        None if seen is None else seen.margin,
        rewrites=asked.rewrites,
        like=asked.like,
        question=asked,
        alignment=alignment,
        curve=SimilarityCurve(times, seen.curve) if curve and seen is not None else None,
    )


def _boundaries_of(video: EncodedVideo, shared: SharedSpace | None) -> IntArray:
    """Where a video may be cut; frames that were not seen do not make it seem quieter."""
    steps = None
    if video.seen is not None:
        steps = sum_over_neighbours(video, partial(squared_steps, shared=shared))
    return change_points(video.table, shared, steps=steps)


def _check_strategy(bundle: Bundle, strategy: str) -> DecodingStrategy:
    choices: tuple[DecodingStrategy, ...] = get_args(DecodingStrategy)
    for choice in choices:
        if choice == strategy:
            break
    else:
        raise UsageError(
            f"the decoding {strategy!r} is unknown", remedy=f"Choose {', '.join(choices)}"
        )
    if choice != "similarity" and "localizer" not in bundle.manifest.networks:
        raise UsageError(
            f"the bundle has no localizer network, which decoding by {choice} needs",
            where=bundle.path,
            remedy="Decode by similarity, or open a bundle with a trained localizer",
        )
    if choice in _BY_SIMILARITY and bundle.manifest.shared_space is None:
        raise BackendError(
            "decoding by similarity needs a space that frames and sentences share",
            where=bundle.path,
            remedy="Decode by joint, or use a bundle whose encoders share a space",
        )
    return choice
