"""Stores, features made elsewhere, samples and batches."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import h5py
import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vtloc.annotations.examples import Example
from vtloc.features.sources import JoinedFrames, open_frames, open_tokens
from vtloc.features.store import FrameStore, TokenStore
from vtloc.features.store_description import FramesEntry, TokensEntry
from vtloc.model.samples import Sample, StoredSamples, batches, collate, frame_span
from vtloc.tensor_file import write_tensors
from vtloc_runtime.errors import FeatureError
from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo, EvenSampling
from vtloc_runtime.localize.spans.moments import Moment

CHANCE = np.random.default_rng(0)
FRAMES = FramesEntry(encoder="e", dimension=6, frames_per_second=1.0, shared_space=(0, 4))
TOKENS = TokensEntry(encoder="t", dimension=4)


def encoded(frames: int = 5) -> EncodedVideo:
    features = CHANCE.normal(size=(frames, 6)).astype(np.float32)
    return EncodedVideo(features, np.arange(frames, dtype=np.float64) + 0.25, frames + 0.5)


def example(query: str = "a dog", video: str = "v", identifier: str = "v.0") -> Example:
    return Example(identifier, video, 10.0, query, (Moment(2.0, 4.0, 1.0),))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    frames = FrameStore.create(tmp_path, FRAMES)
    frames.write("v", encoded())
    frames.write("a/b: ü", encoded(3))
    tokens = TokenStore.create(tmp_path, TOKENS)
    tokens.write({"a dog": np.ones((2, 4), np.float32)})
    tokens.write({"a cat": np.zeros((3, 4), np.float32)})
    return tmp_path


def test_features_come_back_as_they_were(tmp_path: Path) -> None:
    written = encoded()
    FrameStore.create(tmp_path, FRAMES).write("v", written)
    found = open_frames(tmp_path)
    read = found.frames("v")
    assert np.array_equal(read.features, written.features)
    assert np.array_equal(read.times, written.times)
    assert read.duration == written.duration
    assert (found.encoder, found.dimension, found.shared_space) == ("e", 6, (0, 4))


def test_half_precision_halves_the_file_and_keeps_the_meaning(tmp_path: Path) -> None:
    store = FrameStore.create(tmp_path, FRAMES)
    written = encoded(200)
    store.write("whole", written)
    store.write("half", written, half=True)
    sizes = [
        (tmp_path / "frames" / f"{name}.safetensors").stat().st_size for name in store.videos()
    ]
    assert sizes[0] < 0.75 * sizes[1]
    assert np.allclose(store.frames("half").features, written.features, atol=1e-2)


def test_video_names_may_hold_anything(store: Path) -> None:
    assert FrameStore.open(store).videos() == ("a/b: ü", "v")
    assert len(open_frames(store).frames("a/b: ü").features) == 3


def test_tokens_are_found_by_sentence(store: Path) -> None:
    tokens = open_tokens(store)
    assert tokens.tokens(example("a cat")).shape == (3, 4)
    assert example("a dog") in tokens
    assert example("a cow") not in tokens
    with pytest.raises(FeatureError, match="vtloc features"):
        tokens.tokens(example("a cow"))


def test_a_store_refuses_another_encoder(store: Path) -> None:
    other = FramesEntry(encoder="other", dimension=6, frames_per_second=1.0)
    with pytest.raises(FeatureError, match="another way"):
        FrameStore.create(store, other)
    assert FrameStore.create(store, FRAMES).videos()


def test_a_truncated_file_of_a_store_is_refused(store: Path) -> None:
    path = store / "frames" / "v.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(FeatureError, match="damaged"):
        open_frames(store).frames("v")


def test_files_of_another_encoders_store_are_refused(store: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    FrameStore.create(other, msgspec.structs.replace(FRAMES, encoder="f")).write("w", encoded())
    tokens = TokenStore.create(other, msgspec.structs.replace(TOKENS, encoder="u"))
    tokens.write({"a": np.ones((1, 4), np.float32)})
    (other / "frames" / "w.safetensors").rename(store / "frames" / "w.safetensors")
    (other / "tokens" / "00000.safetensors").rename(store / "tokens" / "00007.safetensors")
    with pytest.raises(FeatureError, match="features of f, the store those of e"):
        FrameStore.open(store).frames("w")
    with pytest.raises(FeatureError, match="features of u, the store those of t"):
        TokenStore.open(store)


@pytest.mark.parametrize(
    ("times", "header"),
    [
        ([0.0, 2.0, 1.0], {"duration": "5"}),
        ([-1.0, 0.0, 1.0], {"duration": "5"}),
        ([0.0, 1.0, 2.0], {"duration": "1"}),
        ([0.0, 1.0, 2.0], {"duration": "5", "step": "0", "period": "0"}),
        ([0.0, 1.0, 2.0], {"duration": "5", "step": "nan", "period": "0"}),
    ],
)
def test_times_that_cannot_be_are_refused_with_their_file(
    store: Path, times: list[float], header: dict[str, str]
) -> None:
    place = store / "frames" / "w.safetensors"
    tensors = {"features": torch.ones(3, 6), "times": torch.tensor(times)}
    write_tensors(
        place, tensors | {"scenes": torch.zeros(0)}, {"step": "1", "period": "0", **header}
    )
    with pytest.raises(FeatureError, match=r"w\.safetensors: "):
        FrameStore.open(store).frames("w")


def test_a_pipe_among_tokens_is_not_waited_for(store: Path) -> None:
    os.mkfifo(store / "tokens" / "00009.safetensors")
    assert TokenStore.open(store).holds("a dog")


def test_a_damaged_shard_of_tokens_is_refused(store: Path) -> None:
    (store / "tokens" / "00000.safetensors").write_bytes(b"nothing")
    with pytest.raises(FeatureError, match="damaged"):
        open_tokens(store)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid"),
        ('{"schema": 1}', "encoder"),
        ('{"schema": 2, "encoder": "e", "dimension": 6, "frames_per_second": 1}', "schema 2"),
    ],
)
def test_damaged_descriptions_are_refused(store: Path, content: str, message: str) -> None:
    (store / "frames.json").write_text(content)
    with pytest.raises(FeatureError, match=message):
        open_frames(store)


def test_moment_detrs_folders_are_read_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()
    (tmp_path / "text").mkdir()
    np.savez(tmp_path / "clip" / "v.npz", features=np.ones((75, 6), np.float16))
    np.savez(
        tmp_path / "text" / "qid12.npz",
        last_hidden_state=np.ones((9, 4)),
        attention_mask=np.array([1] * 5 + [0] * 4),
        pooler_output=np.ones(4),
    )
    frames = open_frames(tmp_path / "clip", frames_per_second=0.5)
    video = frames.frames("v")
    assert video.features.shape == (75, 6)
    assert (video.times[1], video.duration) == (2.0, 150.0)
    tokens = open_tokens(tmp_path / "text").tokens(example(identifier="12"))
    assert tokens.shape == (5, 4)
    assert "x" not in frames


def test_hdf5_files_are_read_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "c3d.hdf5"
    with h5py.File(path, "w") as file:
        file["v"] = np.ones((4, 6))
        file["w/features"] = np.zeros((3, 6))
    frames = open_frames(path, frames_per_second=2.0, encoder="c3d")
    assert frames.encoder == "c3d"
    assert frames.frames("v").duration == 2.0
    assert frames.frames("w").features.shape == (3, 6)
    with pytest.raises(FeatureError, match="cannot read"):
        frames.frames("nothing")


def test_features_made_elsewhere_need_their_rate(tmp_path: Path) -> None:
    np.savez(tmp_path / "v.npz", features=np.ones((2, 6)))
    with pytest.raises(FeatureError, match="frames_per_second"):
        open_frames(tmp_path)


def test_pickled_arrays_are_never_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "v.npz", features=np.array([{"code": 1}], dtype=object))
    with pytest.raises(FeatureError, match="cannot read"):
        open_frames(tmp_path, frames_per_second=1.0)


@pytest.mark.parametrize("array", [np.ones(3), np.ones((0, 6)), np.full((2, 6), np.nan)])
def test_features_that_are_no_finite_matrix_are_refused(tmp_path: Path, array) -> None:
    np.savez(tmp_path / "v.npz", features=array)
    with pytest.raises(FeatureError, match="matrix of finite numbers"):
        open_frames(tmp_path, frames_per_second=1.0)


def test_joined_features_lie_side_by_side(tmp_path: Path) -> None:
    for name, (frames, width) in {"a": (5, 2), "b": (4, 3)}.items():
        (tmp_path / name).mkdir()
        np.savez(tmp_path / name / "v.npz", features=np.ones((frames, width)))
    parts = [open_frames(tmp_path / name, frames_per_second=0.5) for name in "ab"]
    joined = JoinedFrames(parts)
    assert joined.dimension == 5
    assert joined.frames("v").features.shape == (4, 5)
    other = open_frames(tmp_path / "a", frames_per_second=1.0)
    with pytest.raises(FeatureError, match="rate"):
        JoinedFrames([parts[0], other])


@given(st.floats(0, 100), st.floats(0, 100), st.sampled_from([0.5, 1.0, 2.0]), st.integers(1, 120))
def test_targets_always_lie_inside_the_video(
    one: float, other: float, rate: float, frames: int
) -> None:
    moment = Moment(min(one, other), max(one, other), 1.0)
    start, end = frame_span(moment, np.arange(frames) / rate, frames / rate)
    assert 0 <= start <= end < frames


@pytest.mark.parametrize(
    ("start", "end", "rate", "expected"),
    [
        (2.0, 4.0, 1.0, (2, 3)),
        (2.4, 4.6, 1.0, (2, 4)),
        (2.5, 2.6, 1.0, (3, 3)),
        (2.0, 4.0, 2.0, (4, 7)),
        (9.9, 10.0, 1.0, (9, 9)),
        (0.0, 10.0, 1.0, (0, 9)),
    ],
)
def test_a_moment_becomes_its_frames(
    start: float, end: float, rate: float, expected: tuple[int, int]
) -> None:
    begins = np.arange(10 * rate) / rate
    assert frame_span(Moment(start, end, 1.0), begins, 10.0) == expected


@given(
    # Not the first frame or the second: the first begins with the video, not half a step earlier.
    st.integers(2, 60),
    st.integers(1, 60),
    st.floats(0.1, 0.9),
    st.sampled_from([0.5, 1.0, 4.0]),
    st.sampled_from([1 / 60, 1 / 25]),
)
def test_a_moment_of_a_sampled_video_has_the_frames_that_show_it(
    before: int, shown: int, share: float, rate: float, period: float
) -> None:
    times = np.arange(before + shown + 2) / rate
    moment = Moment((before - share) / rate, (before + shown - share) / rate, 1.0)
    begins = EvenSampling(1 / rate, period, np.empty(0)).begins(times)
    first, last = frame_span(moment, begins, len(times) / rate)
    inside = np.flatnonzero((times >= moment.start) & (times < moment.end))
    assert (first, last) == (inside[0], inside[-1])


def test_frames_that_show_one_picture_begin_together() -> None:
    begins = np.array([0.0, 1.0, 1.0, 1.0, 4.0])
    assert frame_span(Moment(1.0, 4.0, 1.0), begins, 5.0) == (1, 3)
    assert frame_span(Moment(0.0, 1.0, 1.0), begins, 5.0) == (0, 0)


def test_a_store_keeps_how_videos_were_sampled(tmp_path: Path) -> None:
    store = FrameStore.create(tmp_path, FRAMES)
    sampling = EvenSampling(1.0, 0.04, np.array([0.0, 2.6]))
    store.write("v", replace(encoded(5), sampling=sampling))
    found = store.frames("v")
    assert found.begins.tolist() == pytest.approx([0.25, 0.77, 1.77, 2.6, 3.77])
    store.write("w", encoded(5))
    assert store.frames("w").begins.tolist() == encoded(5).times.tolist()


def test_samples_begin_where_answers_do(tmp_path: Path) -> None:
    store = FrameStore.create(tmp_path, FRAMES)
    video = replace(encoded(5), times=np.arange(5.0), sampling=EvenSampling(1, 0.04, np.empty(0)))
    store.write("v", video)
    tokens = TokenStore.create(tmp_path, TOKENS)
    tokens.write({"a dog": np.ones((3, 4), np.float32)})
    asked = replace(example(), moments=(Moment(1.3, 3.6, 1.0),))
    (only,) = StoredSamples([asked], store, tokens).epoch(0)
    targets = collate([only], sigma=0.1).targets
    # Pictures at 2 and 3 seconds show it; the one at 1 second does not yet.
    assert targets.inside[0].nonzero().flatten().tolist() == [2, 3]


def sample(frames: int, tokens: int, *moments: tuple[float, float]) -> Sample:
    return Sample.evenly(
        "s",
        np.full((frames, 6), frames, np.float32),
        np.full((tokens, 4), tokens, np.float32),
        tuple(Moment(start, end, 1.0) for start, end in moments),
    )


def test_batches_pad_to_the_longest_and_mask_the_rest() -> None:
    batch = collate([sample(5, 2, (1, 3)), sample(3, 4)], sigma=1.0)
    assert batch.features.shape == (2, 5, 6)
    assert batch.tokens.shape == (2, 4, 4)
    assert batch.frame_mask.sum(dim=1).tolist() == [5, 3]
    assert batch.token_mask.sum(dim=1).tolist() == [2, 4]
    assert batch.features[1, 3:].abs().sum() == 0


def test_targets_peak_at_every_moments_ends() -> None:
    targets = collate([sample(12, 1, (1, 3), (7, 10)), sample(12, 1)], sigma=0.5).targets
    assert (targets.start[0] == 1).nonzero().flatten().tolist() == [1, 7]
    assert (targets.end[0] == 1).nonzero().flatten().tolist() == [2, 9]
    assert targets.inside[0].nonzero().flatten().tolist() == [1, 2, 7, 8, 9]
    assert torch.count_nonzero(targets.start[1]) == 0
    assert not targets.inside[1].any()


def test_samples_of_different_widths_do_not_mix() -> None:
    wide = Sample.evenly("w", np.ones((2, 7), np.float32), np.ones((1, 4), np.float32), ())
    with pytest.raises(FeatureError, match="width"):
        collate([sample(2, 1), wide], sigma=1.0)


def test_batches_hold_every_sample_once() -> None:
    stream = iter([sample(count, 1) for count in range(1, 8)])
    assert [len(batch.features) for batch in batches(stream, 3, sigma=1.0)] == [3, 3, 1]


def test_stored_samples_shuffle_by_seed_and_epoch_alone(store: Path) -> None:
    examples = [example(identifier=str(index)) for index in range(20)]

    def order(seed: int | None, epoch: int) -> list[str]:
        source = StoredSamples(examples, open_frames(store), open_tokens(store), seed=seed)
        return [found.id for found in source.epoch(epoch)]

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)
    assert order(None, 3) == [str(index) for index in range(20)]


def test_examples_without_features_are_found(store: Path) -> None:
    examples = [example(), example(video="lost", identifier="1"), example("a cow", identifier="2")]
    source = StoredSamples(examples, open_frames(store), open_tokens(store))
    missing = source.missing()
    assert [found.id for found in missing] == ["1", "2"]
    assert [found.id for found in source.without(missing).epoch(0)] == ["v.0"]
