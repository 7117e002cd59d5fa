"""Our own store of features: one folder, frames and tokens beside each other.

::

    STORE/
        frames.json                    which encoder, how wide, how many frames a second
        frames/VIDEO.safetensors       features [T, Dv], times [T] and scenes [C] float64; header:
                                       duration, step, period
        tokens.json                    which encoder, how wide
        tokens/00000.safetensors       [N, Dt] a sentence, by the SHA-256 of its text

Every file is written whole or not at all, so an interrupted run is continued by running it again.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

import numpy as np
from safetensors import SafetensorError, safe_open

from vtloc.features.store_description import DescribedStore, FramesEntry, TokensEntry
from vtloc.tensor_file import parse_tensors, plain_header, read_whole, write_tensors
from vtloc_runtime.errors import FeatureError
from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo, EvenSampling

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from vtloc.annotations.examples import Example


class FrameStore(DescribedStore[FramesEntry]):
    """The frames' half of a store; a `vtloc.features.sources.FrameSource`.

    Args:
        folder: The store.
        entry: Content of ``frames.json``.
    """

    description = "frames.json"
    schema = FramesEntry

    @property
    def frames_per_second(self) -> float:
        """How densely videos were sampled."""
        return self.entry.frames_per_second

    @property
    def shared_space(self) -> tuple[int, int] | None:
        """Columns in the space of the sentence vectors."""
        return self.entry.shared_space

    def __contains__(self, video: str) -> bool:
        return self._file(video).is_file()

    def videos(self) -> tuple[str, ...]:
        """Every video in the store, sorted."""
        files = (self.folder / "frames").glob("*.safetensors")
        return tuple(sorted(unquote(file.name.removesuffix(".safetensors")) for file in files))

    def frames(self, video: str) -> EncodedVideo:
        """Read a video's features.

        Raises:
            FeatureError: They are missing, damaged, or of another width.
        """
        place = self._file(video)
        tensors, header = parse_tensors(read_whole(place, FeatureError), place, FeatureError)
        features, times = tensors.get("features"), tensors.get("times")
        if (
            features is None
            or times is None
            or times.ndim != 1
            or not len(times)
            or features.shape != (len(times), self.dimension)
        ):
            raise FeatureError(
                f"the file does not hold features of width {self.dimension} with their times",
                where=place,
            )
        try:
            duration = float(header["duration"])
        except (KeyError, ValueError) as error:
            raise FeatureError("the header has no duration", where=place) from error
        if not (features.isfinite().all() and times.isfinite().all() and math.isfinite(duration)):
            raise FeatureError("the features or their times are not finite", where=place)
        _check_encoder(header, self.encoder, place)
        try:
            return EncodedVideo(
                features.float().numpy(),
                times.double().numpy(),
                duration,
                sampling=_sampling(tensors.get("scenes"), header, place),
            )
        except FeatureError as error:
            raise FeatureError(error.what, where=place) from error

    def write(self, video: str, encoded: EncodedVideo, *, half: bool = False) -> None:
        """Store a video's features.

        Args:
            video: The video's name.
            encoded: Its features.
            half: Whether to round features to float16, half the size.

        Raises:
            OutputError: The file cannot be written.
        """
        import torch

        features = torch.from_numpy(encoded.features)
        tensors = {
            "features": features.half() if half else features,
            "times": torch.from_numpy(encoded.times),
        }
        header = {"duration": repr(float(encoded.duration)), "encoder": self.encoder}
        if (sampling := encoded.sampling) is not None:
            tensors["scenes"] = torch.from_numpy(sampling.scenes)
            header |= {"step": repr(float(sampling.step)), "period": repr(float(sampling.period))}
        write_tensors(self._file(video), tensors, header)

    def _file(self, video: str) -> Path:
        return self.folder / "frames" / f"{quote(video, safe='')}.safetensors"


class TokenStore(DescribedStore[TokensEntry]):
    """The tokens' half of a store; a `vtloc.features.sources.TokenSource`.

    Args:
        folder: The store.
        entry: Content of ``tokens.json``.
    """

    description = "tokens.json"
    schema = TokensEntry

    def __init__(self, folder: Path, entry: TokensEntry) -> None:
        super().__init__(folder, entry)
        self._shards: dict[str, Path] = {}
        for file in self._files():
            self._index(file)

    def __contains__(self, example: Example) -> bool:
        return self.holds(example.query)

    def holds(self, sentence: str) -> bool:
        """Whether a sentence's tokens are stored."""
        return _key(sentence) in self._shards

    def tokens(self, example: Example) -> NDArray[np.float32]:
        """The token features of an example's query, [N, Dt].

        Raises:
            FeatureError: They are missing, damaged, or of another width.
        """
        key = _key(example.query)
        shard = self._shards.get(key)
        if shard is None:
            raise FeatureError(
                f"no tokens are stored for the sentence {example.query!r}",
                where=self.folder,
                remedy="Encode the annotations with: vtloc features --queries FILE",
            )
        try:
            with safe_open(shard, framework="pt") as file:
                tokens = file.get_tensor(key)
        except (OSError, SafetensorError, ValueError, TypeError, RuntimeError) as error:
            raise FeatureError(f"the file is damaged: {error}", where=shard) from error
        if tokens.ndim != 2 or tokens.shape[1] != self.dimension or not len(tokens):
            raise FeatureError(
                f"tokens have shape {tuple(tokens.shape)}, not N by {self.dimension}", where=shard
            )
        if not tokens.isfinite().all():
            raise FeatureError("the tokens are not finite", where=shard)
        return np.asarray(tokens.float().numpy())

    def write(self, tokens: Mapping[str, NDArray[np.float32]], *, half: bool = False) -> None:
        """Store the tokens of some sentences, as one more file.

        Args:
            tokens: By sentence, [N, Dt].
            half: Whether to round them to float16, half the size.

        Raises:
            OutputError: The file cannot be written.
        """
        import torch

        last = max((int(file.stem) for file in self._files()), default=-1)
        place = self.folder / "tokens" / f"{last + 1:05d}.safetensors"
        tensors = {_key(sentence): torch.from_numpy(array) for sentence, array in tokens.items()}
        if half:
            tensors = {key: tensor.half() for key, tensor in tensors.items()}
        write_tensors(place, tensors, {"encoder": self.encoder})
        self._shards.update(dict.fromkeys(tensors, place))

    def _files(self) -> list[Path]:
        # A pipe would be waited for.
        files = (self.folder / "tokens").glob("[0-9]*.safetensors")
        return sorted(file for file in files if file.is_file())

    def _index(self, shard: Path) -> None:
        try:
            with safe_open(shard, framework="pt") as file:
                keys, header = file.keys(), plain_header(file.metadata() or {})
        except (OSError, SafetensorError, ValueError, TypeError, RuntimeError) as error:
            raise FeatureError(f"the file is damaged: {error}", where=shard) from error
        _check_encoder(header, self.encoder, shard)
        self._shards.update(dict.fromkeys(keys, shard))


def _check_encoder(header: Mapping[str, str], encoder: str, place: Path) -> None:
    """Refuse a file that was copied from a store of another encoder.

    Raises:
        FeatureError: It was.
    """
    if (found := header.get("encoder", encoder)) != encoder:
        raise FeatureError(
            f"the file holds features of {found:.80}, the store those of {encoder:.80}",
            where=place,
            remedy="Remove it, and extract the features again",
        )


def _sampling(scenes: Tensor | None, header: Mapping[str, str], place: Path) -> EvenSampling | None:
    """How a video was sampled; None where the file does not say, as older ones do not.

    Raises:
        FeatureError: It makes no sense.
    """
    if scenes is None:
        return None
    try:
        step, period = float(header["step"]), float(header["period"])
    except (KeyError, ValueError) as error:
        raise FeatureError("the header does not say how it was sampled", where=place) from error
    return EvenSampling(step, period, scenes.double().flatten().numpy())


def _key(sentence: str) -> str:
    return hashlib.sha256(sentence.encode()).hexdigest()
