"""Pooled activations without pictures: directions that the classifier itself calls a class.

A frame that shows a class lies, from the mean activation, in the direction of the classifier's
weight row for it, ``z = mean + strength * direction + rest``. How far it goes, how much of its
neighbours it shows, and how the rest spreads are matched to real pictures in the mean only: the
best logits, their falling off, and the distance from the mean activation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vtloc.encoders.efficientnet import EfficientNetLite0Encoder

_NEIGHBOURS = 24
_MEAN_ACTIVATION = 0.19
"""Of EfficientNet-Lite0 on pictures; it shifts every logit by hardly anything."""


@dataclass(frozen=True, slots=True)
class ClassPrototypes:
    """Where classes lie in the space of pooled activations.

    Attributes:
        mean: The activation that no class stands out of, float32 [1280].
        directions: A unit vector a class, float32 [1000, 1280].
        neighbours: The classes that each is most readily mistaken for, int64 [1000, 24].
    """

    mean: NDArray[np.float32]
    directions: NDArray[np.float32]
    neighbours: NDArray[np.int64]

    @classmethod
    def from_encoder(cls, encoder: EfficientNetLite0Encoder) -> Self:
        """Read them out of a classifier's weights."""
        weight = encoder.network.classifier.weight.detach().float()
        rows = torch.nn.functional.normalize(weight - weight.mean(dim=0), dim=1)
        meaning = torch.nn.functional.normalize(encoder.class_embeddings.float(), dim=1)
        likeness = rows @ rows.T + 0.5 * (meaning @ meaning.T)
        likeness.fill_diagonal_(-torch.inf)
        mean = np.full(weight.shape[1], _MEAN_ACTIVATION, dtype=np.float32)
        return cls(mean, rows.numpy(), likeness.topk(_NEIGHBOURS, dim=1).indices.numpy())

    def appearance(
        self, classes: NDArray[np.int64], strengths: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """The offset from the mean of frames that show some classes.

        Args:
            classes: [K].
            strengths: [..., K], how far towards each.

        Returns:
            [..., 1280].
        """
        return strengths @ self.directions[classes]

    def clutter(
        self, rng: np.random.Generator, count: int, *, structured: float, plain: float
    ) -> NDArray[np.float32]:
        """What pictures hold besides their subject.

        Args:
            rng: Where it comes from.
            count: How many.
            structured: Length of the part that classes share; it moves whole groups of logits.
            plain: Length of the part that no class sees.

        Returns:
            [count, 1280].
        """
        classes, width = self.directions.shape
        shared = rng.standard_normal((count, classes), dtype=np.float32) @ self.directions
        shared *= structured / np.linalg.norm(shared, axis=1, keepdims=True)
        noise = rng.standard_normal((count, width), dtype=np.float32)
        noise *= plain / np.sqrt(width)
        return shared + noise
