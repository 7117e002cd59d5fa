"""What training sees: samples, the sources that give them, and batches of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from vtloc.model.losses import Targets, smooth_boundaries
from vtloc_runtime.errors import FeatureError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from vtloc.annotations.examples import Example
    from vtloc.features.sources import FrameSource, TokenSource
    from vtloc_runtime.localize.spans.moments import Moment


@dataclass(frozen=True, slots=True)
class Sample:
    """One query in one video, as features.

    Attributes:
        id: Unique within its source.
        features: [T, Dv] float32.
        tokens: [N, Dt] float32.
        moments: Where the sentence is true, seconds; empty where it is nowhere.
        begins: [T] float64, when what each frame shows is taken to begin, seconds.
        duration: The video's end, seconds.
    """

    id: str
    features: NDArray[np.float32]
    tokens: NDArray[np.float32]
    moments: tuple[Moment, ...]
    begins: NDArray[np.float64]
    duration: float

    @classmethod
    def evenly(
        cls,
        identifier: str,
        features: NDArray[np.float32],
        tokens: NDArray[np.float32],
        moments: tuple[Moment, ...],
        *,
        frames_per_second: float = 1.0,
    ) -> Sample:
        """A sample whose frames begin at even times, as those of clips or generated ones do."""
        begins = np.arange(len(features)) / frames_per_second
        duration = len(features) / frames_per_second
        return cls(identifier, features, tokens, moments, begins, duration)


class SampleSource(Protocol):
    """Anything that training can learn from.

    A source may read samples or make them up on the spot. To be resumable, ``epoch`` must give
    the same samples in the same order whenever it is called with the same number: draw all chance
    from a generator seeded by that number, as `StoredSamples` does. Evaluation reads epoch 0.
    """

    def __len__(self) -> int:
        """Samples in an epoch."""
        ...

    def epoch(self, number: int) -> Iterator[Sample]:
        """The samples of an epoch, in the order in which they are learnt from."""
        ...


class StoredSamples:
    """Annotated examples with stored features.

    Args:
        examples: What to learn from or to evaluate on.
        frames: Their videos' features.
        tokens: Their queries' tokens.
        seed: Seed of the order; None keeps the examples' own order, for evaluation.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        frames: FrameSource,
        tokens: TokenSource,
        *,
        seed: int | None = None,
    ) -> None:
        self.examples = tuple(examples)
        self._frames = frames
        self._tokens = tokens
        self._seed = seed

    def __len__(self) -> int:
        return len(self.examples)

    def missing(self) -> tuple[Example, ...]:
        """Examples whose video or query has no features."""
        return tuple(
            example
            for example in self.examples
            if example.video not in self._frames or example not in self._tokens
        )

    def reseeded(self, seed: int) -> StoredSamples:
        """The same samples in another order."""
        return StoredSamples(self.examples, self._frames, self._tokens, seed=seed)

    def without(self, examples: Sequence[Example]) -> StoredSamples:
        """The same samples but for some."""
        absent = {example.id for example in examples}
        kept = [example for example in self.examples if example.id not in absent]
        return StoredSamples(kept, self._frames, self._tokens, seed=self._seed)

    def epoch(self, number: int) -> Iterator[Sample]:
        """The examples as samples, shuffled anew each epoch where there is a seed.

        Raises:
            FeatureError: Features are missing or damaged.
        """
        order = np.arange(len(self.examples))
        if self._seed is not None:
            order = np.random.default_rng((self._seed, number)).permutation(order)
        for index in order:
            yield self._sample(self.examples[index])

    def _sample(self, example: Example) -> Sample:
        video = self._frames.frames(example.video)
        if not len(video.features):
            raise FeatureError("the video has no frame", where=example.video)
        return Sample(
            id=example.id,
            features=video.features,
            tokens=self._tokens.tokens(example),
            moments=example.moments,
            begins=video.begins,
            # Annotators' clocks and containers disagree by a little; answers end with the video.
            duration=max(video.duration, float(video.times[-1])),
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples side by side, padded to the longest.

    Attributes:
        features: [B, T, Dv] float32.
        frame_mask: [B, T] bool, true for real frames.
        tokens: [B, N, Dt] float32.
        token_mask: [B, N] bool, true for real tokens.
        targets: What the logits should be.
    """

    features: Tensor
    frame_mask: Tensor
    tokens: Tensor
    token_mask: Tensor
    targets: Targets

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        if device.type == "cpu":
            return self
        targets = Targets(
            self.targets.start.to(device, non_blocking=True),
            self.targets.end.to(device, non_blocking=True),
            self.targets.inside.to(device, non_blocking=True),
        )
        return Batch(
            self.features.to(device, non_blocking=True),
            self.frame_mask.to(device, non_blocking=True),
            self.tokens.to(device, non_blocking=True),
            self.token_mask.to(device, non_blocking=True),
            targets,
        )


def frame_span(moment: Moment, begins: NDArray[np.float64], duration: float) -> tuple[int, int]:
    """First and last frame of a moment: those whose begin and end are nearest to its own.

    Args:
        moment: In seconds.
        begins: [T] float64, when what each frame shows is taken to begin, seconds.
        duration: The video's end, seconds.
    """
    ends = np.append(begins[1:], max(duration, float(begins[-1])))
    first = _nearest(begins, moment.start)
    return first, max(first, _nearest(ends, moment.end))


def _nearest(edges: NDArray[np.float64], seconds: float) -> int:
    """The edge nearest to a time: the later of two, the first of those that are equal."""
    place = np.searchsorted((edges[1:] + edges[:-1]) / 2, seconds, side="right")
    return int(np.searchsorted(edges, edges[place]))


def collate(samples: Sequence[Sample], *, sigma: float) -> Batch:
    """Put samples side by side.

    Args:
        samples: At least one.
        sigma: Spread of the smoothed targets, frames.

    Raises:
        FeatureError: The samples differ in width.
    """
    features, frame_mask = _pad([sample.features for sample in samples], "features")
    tokens, token_mask = _pad([sample.tokens for sample in samples], "tokens")
    width = max(1, *(len(sample.moments) for sample in samples))
    spans = np.zeros((len(samples), width, 2), dtype=np.int64)
    present = np.zeros((len(samples), width), dtype=bool)
    inside = torch.zeros(frame_mask.shape, dtype=torch.bool)
    for row, sample in enumerate(samples):
        for column, moment in enumerate(sample.moments):
            span = frame_span(moment, sample.begins, sample.duration)
            spans[row, column], present[row, column] = span, True
            inside[row, span[0] : span[1] + 1] = True
    starts, ends = torch.from_numpy(spans).unbind(dim=-1)
    known, frames = torch.from_numpy(present), frame_mask.shape[1]
    targets = Targets(
        smooth_boundaries(starts, known, frames, sigma),
        smooth_boundaries(ends, known, frames, sigma),
        inside,
    )
    return Batch(features, frame_mask, tokens, token_mask, targets)


def batches(samples: Iterator[Sample], size: int, *, sigma: float) -> Iterator[Batch]:
    """Batches of ``size`` samples; the last may be smaller."""
    group: list[Sample] = []
    for sample in samples:
        group.append(sample)
        if len(group) == size:
            yield collate(group, sigma=sigma)
            group = []
    if group:
        yield collate(group, sigma=sigma)


def _pad(rows: Sequence[NDArray[np.float32]], what: str) -> tuple[Tensor, Tensor]:
    widths = {row.shape[1] for row in rows}
    if len(widths) != 1:
        raise FeatureError(f"{what} of one batch differ in width: {sorted(widths)}")
    lengths = [len(row) for row in rows]
    padded = np.zeros((len(rows), max(lengths), widths.pop()), dtype=np.float32)
    for index, row in enumerate(rows):
        padded[index, : len(row)] = row
    mask = torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(1)
    return torch.from_numpy(padded), mask
