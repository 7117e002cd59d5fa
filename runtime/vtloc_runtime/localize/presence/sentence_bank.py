"""Ordinary sentences and nouns, encoded once, that queries are compared with: no training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from vtloc_runtime.errors import BundleError
from vtloc_runtime.localize.presence.reference_frames import have_length_one

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from vtloc_runtime.bundle.bundle import Bundle

_SENTENCES, _MEAN = "sentences", "mean"
_LARGEST_FILE = 2**28
_FEWEST = 2
"""Sentences, of which one is always compared with another."""


@dataclass(frozen=True, slots=True, eq=False)
class SentenceBank:
    """What a bundle's text network says of ordinary sentences.

    Attributes:
        sentences: ``[S, Ds]``, ordinary sentences, of length 1 each.
        mean: ``[Ds]``, the mean vector of many nouns in many templates: what sentences share as
            such, whatever they say.
    """

    sentences: NDArray[np.float32]
    mean: NDArray[np.float32]

    @classmethod
    def of_vectors(cls, sentences: ArrayLike, mean: ArrayLike) -> Self:
        """Vectors of any length; sentences are brought to length 1.

        Args:
            sentences: ``[S, Ds]``; those without a direction are left out.
            mean: ``[Ds]``.
        """
        rows = np.asarray(sentences, dtype=np.float32)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        kept = lengths[:, 0] > 0
        return cls(rows[kept] / lengths[kept], np.asarray(mean, dtype=np.float32))

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> Self | None:
        """The bundle's own; None where it has none.

        Raises:
            BundleError: The file is altered, holds no sentences, or is of another width.
        """
        entry, shared = bundle.manifest.sentence_bank, bundle.manifest.shared_space
        if entry is None or shared is None:
            return None
        bank = cls.from_bytes(bundle.read(entry.file, entry.sha256, limit=_LARGEST_FILE))
        width = shared.stop - shared.start
        if len(bank.mean) != width:
            raise BundleError(
                f"the sentence bank has the width {len(bank.mean)}, the shared space {width}",
                where=bundle.path / entry.file,
            )
        return bank

    def to_bytes(self) -> bytes:
        """The bank as a safetensors file, its sentences in half precision."""
        from safetensors.numpy import save

        return save(
            {
                _SENTENCES: np.ascontiguousarray(self.sentences, dtype=np.float16),
                _MEAN: np.ascontiguousarray(self.mean, dtype=np.float32),
            }
        )

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read what ``to_bytes`` wrote.

        Raises:
            BundleError: The bytes hold no sentence bank, or one of fewer than two sentences.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            tensors = load(content)
            sentences, mean = tensors[_SENTENCES], tensors[_MEAN]
        except (SafetensorError, KeyError) as error:
            raise BundleError(f"the file holds no sentence bank: {error}") from error
        if sentences.dtype.kind != "f" or mean.dtype.kind != "f":
            raise BundleError("the sentence bank holds values that are not floating numbers")
        if sentences.ndim != 2 or mean.shape != sentences.shape[1:] or not len(sentences):
            raise BundleError(
                f"the sentence bank holds sentences of shape {sentences.shape} and a mean of "
                f"shape {mean.shape}; it needs [S, D] and [D]"
            )
        with np.errstate(all="ignore"):
            found = cls.of_vectors(sentences, mean)
        if not have_length_one(found.sentences) or not np.isfinite(found.mean).all():
            raise BundleError("the sentence bank holds values that are not finite numbers")
        if len(found.sentences) < _FEWEST:
            raise BundleError(
                f"the sentence bank holds {len(found.sentences)} sentences that have a direction; "
                f"it needs {_FEWEST}"
            )
        return found
