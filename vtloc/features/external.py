"""Features made elsewhere, read as they are: moment_detr's ``.npz`` files, HDF5 files."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vtloc_runtime.errors import FeatureError, MissingExtraError
from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from vtloc.annotations.examples import Example


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
        """The name of any entry.

        Raises:
            FeatureError: It holds no entry.
        """
        with _reading(self.path):
            names = (
                (file.stem for file in self.path.glob("*.npz"))
                if self._hdf5 is None
                else iter(self._hdf5.keys())
            )
            name = next(iter(names), None)
        if name is None:
            raise FeatureError("it contains no features", where=self.path)
        return str(name)

    def __contains__(self, name: str) -> bool:
        if self._hdf5 is not None:
            with _reading(self.path):
                return name in self._hdf5
        return (self.path / f"{name}.npz").is_file()

    def read(self, name: str) -> NDArray[np.float32]:
        """An entry's array, [length, width].

        Raises:
            FeatureError: It is missing, damaged, or not a finite matrix.
        """
        where = f"{self.path}:{name}"
        with _reading(where):
            array = self._read_npz(name) if self._hdf5 is None else self._read_hdf5(name)
        if array.ndim != 2 or not len(array) or not np.isfinite(array).all():
            raise FeatureError(
                f"features of shape {array.shape} are not a matrix of finite numbers", where=where
            )
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


@contextmanager
def _reading(where: object) -> Iterator[None]:
    """Turn whatever a damaged file makes numpy, zipfile, zlib or h5py raise into one error."""
    try:
        yield
    except Exception as error:  # their exceptions are of every kind, and listed nowhere
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FeatureError(f"cannot read the features: {reason}", where=where) from error


class ForeignFrames:
    """External features, an array a video, sampled evenly (a `FrameSource`).

    Args:
        path: A folder of ``VIDEO.npz`` files or an HDF5 file.
        frames_per_second: Frames a second; moment_detr's clips of two seconds are 0.5.
        encoder: Name of the encoder, as `vtloc.encoders` takes it, where known.
        shared_space: Columns in the space of the sentence vectors.
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

    def frames(self, video: str) -> EncodedVideo:
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
        return EncodedVideo(features, times, len(features) / self.frames_per_second)


class ForeignTokens:
    """Token features made elsewhere, one array a query; a `vtloc.features.sources.TokenSource`.

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


def _open_hdf5(path: Path) -> Any:
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError.for_package(
            "h5py", extra="train", purpose="reading HDF5"
        ) from error
    with _reading(path):
        return h5py.File(path, "r")
