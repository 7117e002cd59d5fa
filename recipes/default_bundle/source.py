"""Timelines as the samples that training asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from tokenizers import Tokenizer

from recipes.default_bundle.composition import Composer
from recipes.default_bundle.described import DescribedConfig, Describer
from recipes.default_bundle.prototypes import ClassPrototypes
from recipes.default_bundle.topics import write_topics
from recipes.default_bundle.vocabulary import load_vocabulary
from vtloc.encoders import load_text_encoder, load_visual_encoder
from vtloc.encoders.imagenet_labels import embed_texts
from vtloc.errors import EncoderError
from vtloc.model.samples import Sample
from vtloc_runtime.localize.spans.moments import Moment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from recipes.default_bundle.composition import CompositionConfig
    from recipes.default_bundle.footage import FootageConfig
    from recipes.default_bundle.vocabulary import Split
    from vtloc.encoders import TextEncoder
    from vtloc.encoders.efficientnet import EfficientNetLite0Encoder

VISUAL_ENCODER = "efficientnet-lite0"
TEXT_ENCODER = "minilm"

_GROUP = 16
"""Timelines of similar length, composed and asked for together."""

_LENGTH_SPREAD = 0.7
"""The shortest of a group over its longest, at least."""


@dataclass(frozen=True, slots=True)
class Encoders:
    """The default bundle's two encoders, as timelines use them.

    Attributes:
        visual: Turns pooled activations into features.
        text: Turns token ids into token states.
    """

    visual: EfficientNetLite0Encoder
    text: TextEncoder

    @classmethod
    def load(cls) -> Encoders:
        """Load both.

        Raises:
            MissingExtraError: A package with weights is not installed.
            EncoderError: The weights are damaged.
        """
        visual = cast("EfficientNetLite0Encoder", load_visual_encoder(VISUAL_ENCODER))
        return cls(visual, load_text_encoder(TEXT_ENCODER))

    @property
    def shared_space(self) -> tuple[int, int]:
        """The feature columns that lie in the sentences' space."""
        shared = self.visual.shared_space
        if shared is None:
            raise EncoderError("the frame encoder shares no space", where=self.visual.name)
        return shared.start, shared.stop

    @torch.inference_mode()
    def features(self, pooled: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features [T, Dv] of pooled activations [T, 1280]."""
        return self.visual.describe(torch.from_numpy(pooled)).numpy()

    @torch.inference_mode()
    def tokens(self, sentences: Sequence[str]) -> list[NDArray[np.float32]]:
        """Token states [N, Dt] of each sentence."""
        tokenizer = Tokenizer.from_str(self.text.tokenizer_json())
        tokenizer.enable_padding(pad_id=self.text.pad_id)
        encoded = tokenizer.encode_batch(list(sentences))
        ids = torch.tensor([entry.ids for entry in encoded])
        mask = torch.tensor([entry.attention_mask for entry in encoded], dtype=torch.bool)
        states = self.text(ids, mask)[0]
        lengths = mask.sum(dim=1).tolist()
        return [row[:length].numpy() for row, length in zip(states, lengths, strict=True)]


@dataclass(frozen=True, slots=True)
class _Shown:
    """A timeline of either kind, as features."""

    features: NDArray[np.float32]
    sentence: str
    moments: tuple[tuple[int, int], ...]


class TimelineSource:
    """An endless supply of timelines, composed as they are asked for.

    Two kinds take turns by chance: frames composed around the classifier's prototypes, and frames
    described in sentences (`recipes.default_bundle.described`). An epoch is a function of the seed
    and its number alone, so that a resumed training sees what an unbroken one would.

    Args:
        encoders: The default bundle's encoders.
        split: Whose concepts and sentences are used.
        seed: Seed of everything that is drawn.
        samples: Timelines in an epoch.
        config: What composed timelines hold, and how long timelines of both kinds are.
        footage: How composed frames come about.
        described: What timelines of described frames hold, and how many there are.
    """

    def __init__(
        self,
        encoders: Encoders,
        split: Split,
        *,
        seed: int,
        samples: int,
        config: CompositionConfig,
        footage: FootageConfig,
        described: DescribedConfig | None = None,
    ) -> None:
        self._encoders = encoders
        self._seed = seed
        self._samples = samples
        self._frames = config.frames
        vocabulary = load_vocabulary(split)
        self._composer = Composer(
            ClassPrototypes.from_encoder(encoders.visual), vocabulary, split, config, footage
        )
        self._described = described or DescribedConfig(share=0)
        self._describer = (
            Describer(
                write_topics(np.random.default_rng(seed), self._described.topics, split=split),
                lambda texts: embed_texts(texts).numpy(),
                vocabulary.embeddings,
                self._described,
            )
            if self._described.share
            else None
        )

    def __len__(self) -> int:
        """Timelines in an epoch."""
        return self._samples

    def epoch(self, number: int) -> Iterator[Sample]:
        """The timelines of an epoch; neighbours are of similar length, so little is padding."""
        rng = np.random.default_rng((self._seed, number))
        for first in range(0, self._samples, _GROUP):
            timelines = self._group(rng, min(_GROUP, self._samples - first))
            tokens = self._encoders.tokens([timeline.sentence for timeline in timelines])
            for index, (timeline, states) in enumerate(zip(timelines, tokens, strict=True)):
                moments = tuple(Moment(start, end + 1, 1.0) for start, end in timeline.moments)
                name = f"{number}-{first + index}"
                yield Sample.evenly(name, timeline.features, states, moments)

    def _group(self, rng: np.random.Generator, size: int) -> list[_Shown]:
        shortest, longest = self._frames
        most = int(rng.integers(shortest, longest + 1))
        least = max(shortest, int(most * _LENGTH_SPREAD))
        return [self._timeline(rng, int(rng.integers(least, most + 1))) for _ in range(size)]

    def _timeline(self, rng: np.random.Generator, frames: int) -> _Shown:
        start, stop = self._encoders.shared_space
        if self._describer is not None and rng.random() < self._described.share:
            told = self._describer.compose(rng, frames)
            features = np.zeros((frames, self._encoders.visual.dimension), dtype=np.float32)
            features[:, start:stop] = told.frames
            return _Shown(features, told.sentence, told.moments)
        timeline = self._composer.compose(rng, frames=frames)
        features = self._encoders.features(timeline.pooled)
        return _Shown(features, timeline.sentence, timeline.moments)
