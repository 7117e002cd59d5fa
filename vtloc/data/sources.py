"""Where features come from: our own store, moment_detr's ``.npz`` files, or HDF5 files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from vtloc.data.store import FrameFeatures, FrameStore, TokenStore
from vtloc_runtime.errors import FeatureError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from vtloc.data.examples import Example


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
        """Columns that lie in the sentences' space, or None."""
        ...

    def __contains__(self, video: str) -> bool: ...

    def frames(self, video: str) -> FrameFeatures:
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


class ArrayFiles:
    """Arrays by name, from a folder of ``.npz`` files or from one HDF5 file.

    Args:
        path: The folder or file.
        keys: Where an entry holds several arrays, which to take: the first of these it has.
    """

    def __init__(self, path: Path, keys: Sequence[str]) -> None:
        self.path = path
        self.keys = tuple(keys)
        self._hdf5: Any = None if path.is_dir() else _open_hdf5(path)

    def first_name(self) -> str:
        """Any one entry's name.

        Raises:
            FeatureError: There is none.
        """
        names = (
            (file.stem for file in self.path.glob("*.npz"))
            if self._hdf5 is None
            else iter(self._hdf5.keys())
        )
        name = next(iter(names), None)
        if name is None:
            raise FeatureError("there are no features", where=self.path)
        return str(name)

    def __contains__(self, name: str) -> bool:
        if self._hdf5 is not None:
            return name in self._hdf5
        return (self.path / f"{name}.npz").is_file()

    def read(self, name: str) -> NDArray[np.float32]:
        """An entry's array, [length, width].

        Raises:
            FeatureError: It is missing, damaged, or no finite matrix.
        """
        where = f"{self.path}:{name}"
        try:
            array = self._read_npz(name) if self._hdf5 is None else self._read_hdf5(name)
        except (OSError, KeyError, ValueError, EOFError) as error:
            raise FeatureError(f"cannot read the features: {error}", where=where) from error
        if array.ndim != 2 or not len(array) or not np.isfinite(array).all():
            raise FeatureError(f"features of shape {array.shape} are no finite matrix", where=where)
        return array

    def _read_npz(self, name: str) -> NDArray[np.float32]:
        with np.load(self.path / f"{name}.npz", allow_pickle=False) as archive:
            array = np.asarray(archive[self._choose(archive.files)], dtype=np.float32)
            if "attention_mask" in archive.files:
                array = array[np.asarray(archive["attention_mask"]).astype(bool).reshape(-1)]
        return array

    def _read_hdf5(self, name: str) -> NDArray[np.float32]:
        entry = self._hdf5[name]
        array = entry[self._choose(list(entry))] if hasattr(entry, "keys") else entry
        return np.asarray(array[()], dtype=np.float32)

    def _choose(self, names: Sequence[str]) -> str:
        for key in self.keys:
            if key in names:
                return key
        if len(names) == 1:
            return names[0]
        raise KeyError(f"none of {', '.join(self.keys)} among {', '.join(names)}")


class ForeignFrames:
    """Features made elsewhere, one array a video, sampled evenly; a `FrameSource`.

    Args:
        path: A folder of ``VIDEO.npz`` files or an HDF5 file.
        frames_per_second: Frames a second; moment_detr's clips of two seconds are 0.5.
        encoder: Name of the encoder, as `vtloc.encoders` takes it, where known.
        shared_space: Columns that lie in the sentences' space.
    """

    def __init__(
        self,
        path: Path,
        *,
        frames_per_second: float,
        encoder: str | None = None,
        shared_space: tuple[int, int] | None = None,
    ) -> None:
        self._files = ArrayFiles(path, ("features", "feature", "feats"))
        self.frames_per_second = frames_per_second
        self.encoder = encoder or f"features:{path.name}"
        self.shared_space = shared_space
        self.dimension = int(self._files.read(self._files.first_name()).shape[1])

    def __contains__(self, video: str) -> bool:
        return video in self._files

    def frames(self, video: str) -> FrameFeatures:
        """Read a video's features.

        Raises:
            FeatureError: They are missing, damaged, or of another width.
        """
        features = self._files.read(video)
        if features.shape[1] != self.dimension:
            raise FeatureError(
                f"features of {video} are {features.shape[1]} wide, others {self.dimension}",
                where=self._files.path,
            )
        times = np.arange(len(features)) / self.frames_per_second
        return FrameFeatures(features, times, len(features) / self.frames_per_second)


class ForeignTokens:
    """Token features made elsewhere, one array a query; a `TokenSource`.

    Queries are found by their id, or by ``qid`` and their id, as moment_detr names its files.

    Args:
        path: A folder of ``.npz`` files or an HDF5 file.
        encoder: Name of the encoder, as `vtloc.encoders` takes it, where known.
    """

    def __init__(self, path: Path, *, encoder: str | None = None) -> None:
        self._files = ArrayFiles(path, ("last_hidden_state", "tokens", "features"))
        self.encoder = encoder or f"tokens:{path.name}"
        self.dimension = int(self._files.read(self._files.first_name()).shape[1])

    def __contains__(self, example: Example) -> bool:
        return self._name(example) is not None

    def tokens(self, example: Example) -> NDArray[np.float32]:
        """The query's tokens, [N, Dt].

        Raises:
            FeatureError: They are missing or damaged.
        """
        name = self._name(example)
        if name is None:
            raise FeatureError(f"no tokens are stored for {example.id}", where=self._files.path)
        return self._files.read(name)

    def _name(self, example: Example) -> str | None:
        names = (example.id, f"qid{example.id}")
        return next((name for name in names if name in self._files), None)


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

    def frames(self, video: str) -> FrameFeatures:
        """Read a video's features from every source.

        Raises:
            FeatureError: They are missing or damaged in one of them.
        """
        parts = [source.frames(video) for source in self._sources]
        length = min(len(part.features) for part in parts)
        features = np.concatenate([part.features[:length] for part in parts], axis=1)
        return FrameFeatures(features, parts[0].times[:length], parts[0].duration)


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
        frames_per_second: The rate; only for ``.npz`` and HDF5, which do not say.
        encoder: The encoder's name, likewise.
        shared_space: Columns that lie in the sentences' space, likewise.

    Raises:
        FeatureError: There are no features, or their rate is not given.
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
        FeatureError: There are no features.
    """
    place = Path(path)
    if (place / "tokens.json").exists():
        return TokenStore.open(place)
    _check_exists(place)
    return ForeignTokens(place, encoder=encoder)


def _check_exists(place: Path) -> None:
    if not place.exists():
        raise FeatureError("there are no features", where=place)


def _open_hdf5(path: Path) -> Any:
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError.of("h5py", extra="train", purpose="reading HDF5") from error
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise FeatureError(f"the file is no HDF5: {error}", where=path) from error
