"""Fill a store of features: videos through a frame encoder, sentences through a text encoder."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

from vtloc.features.store import FrameStore, TokenStore
from vtloc.features.store_description import FramesEntry, TokensEntry
from vtloc_runtime.batch.job_lists.folder_listing import list_videos
from vtloc_runtime.errors import UsageError, VideoError, VtlocError
from vtloc_runtime.localize.encoding import video_encoder as visual
from vtloc_runtime.localize.encoding.video_encoder import VideoEncoder
from vtloc_runtime.networks.interface import Array, Network, TensorSpec, choose_outputs
from vtloc_runtime.video.isolation.decoder_process import DecoderProcess

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from vtloc.encoders import TextEncoder, VisualEncoder

_Item = TypeVar("_Item")

_SENTENCES_A_FILE = 1024
_TOKENS_A_BATCH = 64


@dataclass(frozen=True, slots=True)
class EncodedFile:
    """Outcome of one video.

    Attributes:
        video: Its file.
        frames: Frames encoded; 0 where it was stored already or failed.
        warnings: Warnings of its reader.
        error: Why it has no features, or None.
    """

    video: Path
    frames: int = 0
    warnings: tuple[str, ...] = ()
    error: VtlocError | None = None


def find_videos(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Videos by path, and those in folders, whole trees of them; each name once.

    Raises:
        UsageError: No video is found, or two would be stored under one name.
    """
    videos: dict[str, Path] = {}
    given = tuple(paths)
    for path in given:
        for file in _listed(path) if path.is_dir() else [path]:
            other = videos.setdefault(file.stem, file)
            if other.resolve() != file.resolve():
                raise UsageError(
                    f"{other} and {file} would be stored under one name", where=file.stem
                )
    if not videos:
        raise UsageError("no video was found", where=", ".join(map(str, given)))
    return tuple(videos.values())


def _listed(folder: Path) -> list[Path]:
    listing = list_videos(folder)
    if listing.unreadable:
        raise UsageError("cannot look into the folder", where=listing.unreadable[0])
    return [Path(file) for file in listing.videos]


def frame_store(folder: Path, encoder: VisualEncoder, *, frames_per_second: float) -> FrameStore:
    """Open or create the store that takes an encoder's features.

    Raises:
        FeatureError: The store holds features of another encoder or rate.
        OutputError: It cannot be written.
    """
    shared = encoder.shared_space
    entry = FramesEntry(
        encoder=encoder.name,
        dimension=encoder.dimension,
        frames_per_second=frames_per_second,
        shared_space=None if shared is None else (shared.start, shared.stop),
        preprocessing=encoder.preprocessing,
    )
    return FrameStore.create(folder, entry)


def encode_videos(
    videos: Iterable[Path],
    store: FrameStore,
    encoder: VisualEncoder,
    *,
    batch_size: int = 32,
    half: bool = False,
) -> Iterator[EncodedFile]:
    """Encode videos into a store, passing over those that it holds.

    Args:
        videos: Files; each is stored under its name without suffix.
        store: Where features go.
        encoder: The frame encoder, on the device where it runs.
        batch_size: Frames at once.
        half: Whether to store float16.

    Yields:
        The outcome of each, as it is done. Videos are decoded in a process of their own: one that
        cannot be read, or that crashes the decoder, does not stop the others.

    Raises:
        OutputError: The store cannot be written.
    """
    frames = VideoEncoder(
        _FrameNetwork(encoder), store.entry, encoder=encoder.name, batch=batch_size, reuse=0.0
    )
    with DecoderProcess() as decoder:
        for video in videos:
            if video.stem in store:
                yield EncodedFile(video)
                continue
            try:
                encoded = frames.encode(video, read=decoder.read)
            except VideoError as error:
                yield EncodedFile(video, error=error)
                continue
            store.write(video.stem, encoded, half=half)
            yield EncodedFile(video, len(encoded), encoded.warnings)


class _FrameNetwork(Network):
    """A frame encoder behind the runtime's interface, so that its encode loop serves here too.

    Args:
        encoder: The frame encoder, on the device where it runs.
    """

    def __init__(self, encoder: VisualEncoder) -> None:
        size = encoder.preprocessing.size
        self._encoder = encoder
        self._device = _device_of(encoder)
        self.name = "visual"
        self.backend = f"torch:{self._device}"
        self.inputs = {visual.INPUT: TensorSpec(visual.INPUT, "uint8", ("batch", size, size, 3))}
        self.outputs = {
            visual.OUTPUT: TensorSpec(visual.OUTPUT, "float32", ("batch", encoder.dimension))
        }

    def run(
        self, inputs: Mapping[str, Array], outputs: Collection[str] | None = None
    ) -> dict[str, Array]:
        """Encode a batch of pictures, uint8 [B, S, S, 3], into features, float32 [B, Dv]."""
        choose_outputs(self.outputs, outputs, network=self.name)
        # What another process sent is read-only; torch warns about sharing such memory.
        pictures = torch.from_numpy(np.array(inputs[visual.INPUT]))
        with torch.inference_mode():
            features = self._encoder(pictures.to(self._device)).float().cpu().numpy()
        return {visual.OUTPUT: features}

    def close(self) -> None:
        """Nothing is held that Python does not free."""


def token_store(folder: Path, encoder: TextEncoder) -> TokenStore:
    """Open or create the store that takes a text encoder's tokens.

    Raises:
        FeatureError: The store holds tokens of another encoder.
        OutputError: It cannot be written.
    """
    entry = TokensEntry(encoder=encoder.name, dimension=encoder.token_dimension)
    return TokenStore.create(folder, entry)


def encode_queries(
    sentences: Iterable[str], store: TokenStore, encoder: TextEncoder, *, half: bool = False
) -> Iterator[int]:
    """Encode sentences into a store, passing over those that it holds.

    Args:
        sentences: The queries; repeats are encoded once.
        store: Where tokens go.
        encoder: The text encoder, on the device where it runs.
        half: Whether to store float16.

    Yields:
        How many sentences were stored with each file.

    Raises:
        QueryError: A sentence is empty.
        OutputError: The store cannot be written.
    """
    fresh = [sentence for sentence in dict.fromkeys(sentences) if not store.holds(sentence)]
    for part in _groups(iter(fresh), _SENTENCES_A_FILE):
        store.write(tokens_of(part, encoder), half=half)
        yield len(part)


def tokens_of(sentences: Sequence[str], encoder: TextEncoder) -> dict[str, NDArray[np.float32]]:
    """The token features of sentences, [N, Dt] each, special tokens included.

    Raises:
        QueryError: A sentence is empty.
    """
    from vtloc_runtime.localize.questions.tokenizer import QueryTokenizer

    tokenizer = QueryTokenizer(
        encoder.tokenizer_json().encode(), max_tokens=encoder.max_tokens, pad_id=encoder.pad_id
    )
    device = _device_of(encoder)
    found: dict[str, NDArray[np.float32]] = {}
    for part in _groups(iter(sentences), _TOKENS_A_BATCH):
        ids, mask = tokenizer.batch([tokenizer.tokenize(sentence) for sentence in part])
        with torch.inference_mode():
            states, _ = encoder(torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device))
        rows = states.float().cpu().numpy()
        for sentence, row, real in zip(part, rows, mask, strict=True):
            found[sentence] = np.ascontiguousarray(row[real])
    return found


def _groups(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    stream = iter(items)
    while group := list(islice(stream, size)):
        yield group


def _device_of(encoder: VisualEncoder | TextEncoder) -> torch.device:
    tensors = [*encoder.parameters(), *encoder.buffers()]
    return tensors[0].device if tensors else torch.device("cpu")
