"""Videos and sentences into a store, through the runtime's reader and any encoder."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support.crashing_decoder import crash_on
from vtloc.encoders import TextEncoder, VisualEncoder
from vtloc.features.extraction import (
    encode_queries,
    encode_videos,
    find_videos,
    frame_store,
    token_store,
)
from vtloc.features.sources import open_frames, open_tokens
from vtloc_runtime.bundle.manifest import Preprocessing, SharedSpace
from vtloc_runtime.errors import FeatureError, UsageError, VideoError

GREYS = [30, 90, 150, 210]
"""One grey a second."""


class MeanColour(VisualEncoder):
    """A frame encoder that can be checked by eye: the mean of each colour channel."""

    def __init__(self) -> None:
        super().__init__()
        self.name = "mean-colour"
        self.dimension = 3
        self.preprocessing = Preprocessing(size=16)
        self.shared_space = SharedSpace(start=0, stop=3)
        self.pictures = 0

    def forward(self, frames: Tensor) -> Tensor:
        self.pictures += len(frames)
        return frames.float().mean(dim=(1, 2))


class Letters(TextEncoder):
    """A text encoder whose token states are the token ids."""

    def __init__(self) -> None:
        super().__init__()
        self.name = "letters"
        self.token_dimension = 2
        self.sentence_dimension = 2
        self.max_tokens = 6
        self.pad_id = 0

    def tokenizer_json(self) -> str:
        from tokenizers import Tokenizer, models, pre_tokenizers

        vocabulary = {"[UNK]": 0, "a": 1, "dog": 2, "cat": 3, "runs": 4}
        tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        return tokenizer.to_str()

    def forward(self, token_ids: Tensor, token_mask: Tensor) -> tuple[Tensor, Tensor]:
        states = torch.stack((token_ids, token_mask.long()), dim=-1).float()
        return states, states.mean(dim=1)


def write_video(path: Path, greys: list[int], rate: int = 4) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for grey in greys:
            for _ in range(rate):
                picture = np.full((32, 32, 3), grey, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def test_videos_become_one_feature_a_second_with_their_times(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", GREYS)
    encoder = MeanColour()
    store = frame_store(tmp_path / "store", encoder, frames_per_second=1.0)
    (done,) = encode_videos([tmp_path / "clip.mp4"], store, encoder, batch_size=3)
    assert (done.frames, done.error) == (4, None)
    found = open_frames(tmp_path / "store")
    assert (found.encoder, found.dimension, found.shared_space) == ("mean-colour", 3, (0, 3))
    video = found.frames("clip")
    assert np.allclose(video.features[:, 1], GREYS, atol=6)
    assert np.allclose(video.times, [0, 1, 2, 3], atol=0.01)
    assert video.duration == pytest.approx(4.0, abs=0.01)


def test_a_second_run_encodes_nothing_again(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", GREYS)
    encoder = MeanColour()
    store = frame_store(tmp_path / "store", encoder, frames_per_second=1.0)
    for _ in range(2):
        list(encode_videos([tmp_path / "clip.mp4"], store, encoder))
    assert encoder.pictures == 4


def test_a_video_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"not a video")
    write_video(tmp_path / "good.mp4", GREYS[:2])
    encoder = MeanColour()
    store = frame_store(tmp_path / "store", encoder, frames_per_second=1.0)
    broken, good = encode_videos(find_videos([tmp_path]), store, encoder)
    assert broken.error is not None
    assert "broken.mp4" in str(broken.error)
    assert good.frames == 2
    assert store.videos() == ("good",)


def test_a_store_takes_one_rate_only(tmp_path: Path) -> None:
    encoder = MeanColour()
    frame_store(tmp_path, encoder, frames_per_second=1.0)
    with pytest.raises(FeatureError, match="another way"):
        frame_store(tmp_path, encoder, frames_per_second=2.0)


def test_folders_are_searched_for_videos_alone(tmp_path: Path) -> None:
    for name in ("a.mp4", "deep/er/b.MKV", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert [file.name for file in find_videos([tmp_path])] == ["a.mp4", "b.MKV"]


def test_two_videos_of_one_name_are_an_error(tmp_path: Path) -> None:
    for folder in "ab":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "clip.mp4").write_bytes(b"")
    with pytest.raises(UsageError, match="one name"):
        find_videos([tmp_path])
    with pytest.raises(UsageError, match="no video"):
        find_videos([])


def test_sentences_become_their_real_tokens(tmp_path: Path) -> None:
    encoder = Letters()
    store = token_store(tmp_path, encoder)
    assert list(encode_queries(["a dog runs", "a cat", "a dog runs"], store, encoder)) == [2]
    assert list(encode_queries(["a cat", "dog"], store, encoder)) == [1]
    from vtloc.annotations.examples import Example

    tokens = open_tokens(tmp_path)
    found = tokens.tokens(Example("0", "v", 1.0, "a dog runs", ()))
    assert found[:, 0].tolist() == [1, 2, 4]
    assert tokens.tokens(Example("1", "v", 1.0, "a cat", ()))[:, 0].tolist() == [1, 3]


def test_a_video_that_crashes_the_decoder_costs_itself_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.mp4", "c.mp4"):
        write_video(tmp_path / name, GREYS)
    # The decoder knows it by its size.
    write_video(tmp_path / "b.mp4", [*GREYS, *GREYS])
    crash_on(tmp_path / "b.mp4", monkeypatch)
    encoder = MeanColour()
    store = frame_store(tmp_path / "store", encoder, frames_per_second=1.0)
    videos = find_videos([tmp_path])
    done = list(encode_videos(videos, store, encoder, batch_size=1))
    assert [file.error is None for file in done] == [True, False, True]
    assert isinstance(done[1].error, VideoError)
    assert store.videos() == ("a", "c")
