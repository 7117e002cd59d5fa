"""Where features come from: our own store, moment_detr's ``.npz`` files, or HDF5 files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from vtloc.features.external import ForeignFrames, ForeignTokens
from vtloc.features.store import FrameStore, TokenStore
from vtloc_runtime.errors import FeatureError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from vtloc.annotations.examples import Example
    from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo


class FrameSource(Protocol):
    """Features of videos, by the video's name."""

    @property
    def encoder(self) -> str:
        """Name of the frame encoder."""
        ...

    @property
    def dimension(self) -> int:
        """Width Dv."""
        ...

    @property
    def frames_per_second(self) -> float:
        """How densely videos were sampled."""
        ...

    @property
    def shared_space(self) -> tuple[int, int] | None:
        """Columns in the space of the sentence vectors, or None."""
        ...

    def __contains__(self, video: str) -> bool: ...

    def frames(self, video: str) -> EncodedVideo:
        """Read a video's features.

        Raises:
            FeatureError: They are missing or damaged.
        """
        ...


class TokenSource(Protocol):
    """Token features of queries."""

    @property
    def encoder(self) -> str:
        """Name of the text encoder."""
        ...

    @property
    def dimension(self) -> int:
        """Width Dt."""
        ...

    def __contains__(self, example: Example) -> bool: ...

    def tokens(self, example: Example) -> NDArray[np.float32]:
        """The query's tokens, [N, Dt].

        Raises:
            FeatureError: They are missing or damaged.
        """
        ...


class JoinedFrames:
    """Several features of each frame, side by side (CLIP and SlowFast, say); a `FrameSource`.

    Sources that differ in length by a few frames are cut to the shortest.

    Args:
        sources: At least one, all with the same rate; the first one's shared space counts.
    """

    def __init__(self, sources: Sequence[FrameSource]) -> None:
        rates = {source.frames_per_second for source in sources}
        if len(rates) != 1:
            raise FeatureError(f"features to be joined differ in rate: {sorted(rates)}")
        self._sources = tuple(sources)
        self.encoder = "+".join(source.encoder for source in sources)
        self.dimension = sum(source.dimension for source in sources)
        self.frames_per_second = sources[0].frames_per_second
        self.shared_space = sources[0].shared_space

    def __contains__(self, video: str) -> bool:
        return all(video in source for source in self._sources)

    def frames(self, video: str) -> EncodedVideo:
        """Read a video's features from every source.

        Raises:
            FeatureError: They are missing or damaged in one of them.
        """
        parts = [source.frames(video) for source in self._sources]
        length = min(len(part.features) for part in parts)
        features = np.concatenate([part.features[:length] for part in parts], axis=1)
        return replace(parts[0], rows=features, times=parts[0].times[:length])


def open_frames(
    path: str | Path,
    *,
    frames_per_second: float | None = None,
    encoder: str | None = None,
    shared_space: tuple[int, int] | None = None,
) -> FrameSource:
    """Open frame features of any kind.

    Args:
        path: A store, a folder of ``.npz`` files, or an HDF5 file.
        frames_per_second: The rate; only for ``.npz`` and HDF5, which do not store it.
        encoder: The encoder's name; only for ``.npz`` and HDF5.
        shared_space: Columns in the space of the sentence vectors; only for ``.npz`` and HDF5.

    Raises:
        FeatureError: No features are found, or their rate is not given.
    """
    place = Path(path)
    if (place / "frames.json").exists():
        return FrameStore.open(place)
    _check_exists(place)
    if frames_per_second is None or frames_per_second <= 0:
        raise FeatureError(
            "features made elsewhere need their rate",
            where=place,
            remedy="Give frames_per_second: 0.5 for clips of two seconds",
        )
    return ForeignFrames(
        place, frames_per_second=frames_per_second, encoder=encoder, shared_space=shared_space
    )


def open_tokens(path: str | Path, *, encoder: str | None = None) -> TokenSource:
    """Open token features of any kind; arguments as for `open_frames`.

    Raises:
        FeatureError: No features are found.
    """
    place = Path(path)
    if (place / "tokens.json").exists():
        return TokenStore.open(place)
    _check_exists(place)
    return ForeignTokens(place, encoder=encoder)


def _check_exists(place: Path) -> None:
    if not place.exists():
        raise FeatureError("the features do not exist", where=place)
