"""Why a moment was chosen: similarity and alignment over time, short enough for a page."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from vtloc_runtime.video.isolation.chunks import Read, read_here

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vtloc_runtime.localize.encoding.feature_cache import FeatureCache
    from vtloc_runtime.localize.localizer import Localizer
    from vtloc_runtime.localize.questions.question import Query
    from vtloc_runtime.localize.spans.moments import Localization

_MOST_STEPS = 600
_DIGITS = 4


@dataclass(frozen=True, slots=True)
class SentenceEvidence:
    """The evidence of one sentence in one film.

    Attributes:
        curve: Similarity at each of the film's times; None where the bundle has none.
        words: The sentence's words.
        weights: Base64 of uint8 ``[words, times]``; empty where there is no alignment.
    """

    curve: tuple[float, ...] | None = None
    words: tuple[str, ...] = ()
    weights: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The evidence of all sentences in one film.

    Attributes:
        times: Seconds: where the values lie.
        sentences: By sentence.
    """

    times: tuple[float, ...] = ()
    sentences: Mapping[str, SentenceEvidence] = field(default_factory=dict)


def read_evidence(
    localizer: Localizer,
    video: str,
    questions: Mapping[str, Query],
    cache: FeatureCache,
    *,
    read: Read = read_here,
) -> Evidence:
    """Ask a cached video again, for its evidence this time.

    Args:
        localizer: The localizer that answered.
        video: The video's path.
        questions: What was asked, by its text.
        cache: Holds the encoded video; without it there is no evidence.
        read: Decodes the pictures of questions.

    Raises:
        VtlocError: The video has gone, or a network fails.
    """
    key = cache.key(video, localizer.encoder.signature)
    encoded = None if key is None else cache.get(key)
    if encoded is None or not questions:
        return Evidence()
    aligned = "localizer" in localizer.bundle.manifest.networks
    answers = localizer.localize(
        encoded, list(questions.values()), alignment=aligned, curve=True, read=read
    )
    return gather_evidence(encoded.times, dict(zip(questions, answers, strict=True)))


def gather_evidence(times: NDArray[np.float64], answers: Mapping[str, Localization]) -> Evidence:
    """The evidence in answers.

    A long film's frames are gathered into some hundred steps, each with the highest value of its
    frames.

    Args:
        times: ``[T]``, when each frame came on screen, seconds.
        answers: With curve and alignment, where there are any, by what was asked.
    """
    steps = min(len(times), _MOST_STEPS)
    starts = np.arange(steps) * len(times) // max(1, steps)
    sentences = {}
    for asked, answer in answers.items():
        curve, alignment = answer.curve, answer.alignment
        values = None
        if curve is not None:
            highest = np.maximum.reduceat(curve.values, starts)
            values = tuple(round(float(value), _DIGITS) for value in highest)
        weights = ""
        if alignment is not None and alignment.weights.size:
            strongest = np.maximum.reduceat(alignment.weights, starts, axis=1)
            levels = np.rint(np.clip(strongest, 0, 1) * 255).astype(np.uint8)
            weights = base64.b64encode(levels.tobytes()).decode("ascii")
        words = alignment.words if alignment is not None and weights else ()
        sentences[asked] = SentenceEvidence(values, words, weights)
    return Evidence(tuple(round(float(time), 3) for time in times[starts]), sentences)
