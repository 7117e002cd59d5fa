"""Ask a network, and judge what it answers."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch

from vtloc.evaluation.metrics import Scores, score
from vtloc.model.fusion import pool_sentence
from vtloc.model.samples import collate
from vtloc_runtime.bundle.manifest import SharedSpace
from vtloc_runtime.errors import UsageError
from vtloc_runtime.localize.spans.change_points import change_points
from vtloc_runtime.localize.spans.decoding import decode
from vtloc_runtime.localize.spans.similarity import cosine_curve
from vtloc_runtime.localize.spans.span_times import to_moments

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from vtloc.model import LocalizerConfig, LocalizerNetwork
    from vtloc.model.samples import Sample
    from vtloc_runtime.bundle.manifest import DecodingStrategy
    from vtloc_runtime.localize.spans.moments import Moment
    from vtloc_runtime.localize.spans.occurrences import FloatArray

_ANSWERS = 10
"""Moments an answer: enough for R@5 and for QVHighlights' average precision."""


def answer(
    network: LocalizerNetwork,
    samples: Iterable[Sample],
    *,
    strategy: DecodingStrategy = "joint",
    similarity_weight: float = 6.0,
    batch_size: int = 32,
) -> Iterator[tuple[Sample, tuple[Moment, ...]]]:
    """Ask a network about samples, batch by batch; it runs in eval mode where it lies.

    Args:
        network: The localizer; it is left in the mode it came in.
        samples: What to ask.
        strategy: How logits become moments; see `vtloc_runtime.localize.spans.decoding`.
        similarity_weight: What a perfect contrast is worth in ``combined``.
        batch_size: Samples at once.

    Yields:
        Each sample with its answer, best moment first.
    """
    ask = partial(
        _answer_group,
        network,
        strategy=strategy,
        count=_ANSWERS,
        similarity_weight=similarity_weight,
    )
    group: list[Sample] = []
    for sample in samples:
        group.append(sample)
        if len(group) == batch_size:
            yield from ask(group)
            group = []
    if group:
        yield from ask(group)


def evaluate_network(
    network: LocalizerNetwork,
    samples: Iterable[Sample],
    *,
    strategy: DecodingStrategy = "joint",
    similarity_weight: float = 6.0,
    strict: bool = False,
    precision: bool = False,
    batch_size: int = 32,
) -> Scores:
    """Scores of a network on samples with labels; samples without are passed over.

    Args:
        network: The localizer.
        samples: What to ask.
        strategy: How logits become moments.
        similarity_weight: As for `answer`.
        strict: As for `score`.
        precision: As for `score`.
        batch_size: Samples at once.

    Raises:
        AnnotationError: No sample has a label.
    """
    labelled = (sample for sample in samples if sample.moments)
    answers = answer(
        network,
        labelled,
        strategy=strategy,
        similarity_weight=similarity_weight,
        batch_size=batch_size,
    )
    pairs = ((sample.moments, moments) for sample, moments in answers)
    return score(pairs, strict=strict, precision=precision)


@torch.inference_mode()
def _answer_group(
    network: LocalizerNetwork,
    group: Sequence[Sample],
    *,
    strategy: DecodingStrategy,
    count: int,
    similarity_weight: float,
) -> list[tuple[Sample, tuple[Moment, ...]]]:
    training = network.training
    device = next(network.parameters()).device
    batch = collate(group, sigma=1.0).to(device)
    output = network.eval()(batch.features, batch.frame_mask, batch.tokens, batch.token_mask)
    network.train(training)
    starts, ends = output.start_logits.cpu().numpy(), output.end_logits.cpu().numpy()
    answers = []
    compared = strategy in {"similarity", "combined"}
    for row, sample in enumerate(group):
        frames = len(sample.features)
        spans = decode(
            strategy,
            starts[row, :frames],
            ends[row, :frames],
            curve=similarity_curve(sample, network.config) if compared else None,
            boundaries=change_points(sample.features, _shared(network.config))
            if compared
            else None,
            count=count,
            similarity_weight=similarity_weight,
        )
        answers.append((sample, to_moments(spans, sample.begins, sample.duration)))
    return answers


def similarity_curve(sample: Sample, config: LocalizerConfig) -> FloatArray:
    """The cosine of each frame to the sentence, in the space that they share: no training.

    Args:
        sample: Features and tokens as the encoders gave them.
        config: Which columns are shared, and which token stands for the sentence.

    Raises:
        UsageError: The encoders share no space.
    """
    shared = _shared(config)
    tokens = torch.from_numpy(sample.tokens).unsqueeze(0)
    every = torch.ones(tokens.shape[:2], dtype=torch.bool)
    sentence = pool_sentence(tokens, every, config.sentence_pooling)[0].numpy()
    return cosine_curve(sample.features, sentence, shared)


def _shared(config: LocalizerConfig) -> SharedSpace:
    if config.shared_space is None:
        raise UsageError("these frame and text encoders share no space", where="similarity")
    start, stop = config.shared_space
    return SharedSpace(start=start, stop=stop)
