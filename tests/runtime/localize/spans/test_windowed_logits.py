"""The localizer network over videos longer than it takes, for sentences of several lengths."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import pytest

from vtloc_runtime.bundle.manifest import Windows
from vtloc_runtime.errors import NetworkError
from vtloc_runtime.localize.questions.text_encoder import EncodedSentence
from vtloc_runtime.localize.spans.windowed_logits import BoundaryLogits, word_alignment
from vtloc_runtime.networks.interface import Array, Network, TensorSpec, choose_outputs


class Echo(Network):
    """Says each frame's first feature as start, and the sentence's real tokens as end."""

    def __init__(self, limits: Mapping[str, tuple[int, int]] | None = None) -> None:
        self.seen: list[tuple[int, ...]] = []
        self.asked: list[tuple[str, ...]] = []
        self.name, self.backend = "localizer", "echo"
        self.outputs = {
            name: TensorSpec(name, "float32", ("batch", "frames"))
            for name in ("start_logits", "end_logits")
        } | {"alignment": TensorSpec("alignment", "float32", ("batch", "tokens", "frames"))}
        self.inputs = {
            "features": TensorSpec("features", "float32", ("batch", "frames", 2), limits),
            "tokens": TensorSpec("tokens", "float16", ("batch", "tokens", 3), limits),
        }

    def run(
        self, inputs: Mapping[str, Array], outputs: Collection[str] | None = None
    ) -> dict[str, Array]:
        self.asked.append(tuple(choose_outputs(self.outputs, outputs, network=self.name)))
        self.seen.append(inputs["features"].shape)
        assert inputs["tokens"].dtype == np.float16
        starts: np.ndarray = inputs["features"][..., 0]
        tokens: np.ndarray = inputs["tokens"]
        ends = np.zeros_like(starts) + inputs["token_mask"].sum(axis=1, keepdims=True)
        aligned = tokens[..., :1] * starts[:, None, :]
        found = {"start_logits": starts, "end_logits": ends, "alignment": aligned}
        return {name: found[name] for name in self.asked[-1]}

    def close(self) -> None: ...


def sentence(tokens: int) -> EncodedSentence:
    return EncodedSentence("words", np.ones((tokens, 3)), np.ones(3), ())


@pytest.mark.parametrize("frames", [1, 20, 21, 95])
def test_every_frame_keeps_its_own_logits_across_windows(frames: int) -> None:
    network = Echo()
    features = np.stack([np.arange(frames), np.zeros(frames)], axis=1).astype(np.float32)
    logits = BoundaryLogits(network, Windows(frames=20, overlap=6))
    found = logits.compute(features, [sentence(2), sentence(5)])
    np.testing.assert_allclose(found.starts, [np.arange(frames)] * 2)
    np.testing.assert_allclose(found.ends, [[2] * frames, [5] * frames])
    assert found.alignment is None
    assert {shape[1] for shape in network.seen} == {min(frames, 20)}


@pytest.mark.parametrize("frames", [1, 19, 41, 95, 160])
def test_a_window_that_reaches_further_holds_every_second_frame(frames: int) -> None:
    network = Echo()
    features = np.stack([np.arange(frames), np.zeros(frames)], axis=1).astype(np.float32)
    logits = BoundaryLogits(network, Windows(frames=20, overlap=10))
    found = logits.compute(features, [sentence(2)], reach=60, alignment=True)
    np.testing.assert_allclose(found.starts, [np.arange(frames)])
    assert max(shape[1] for shape in network.seen) <= 20
    assert len({shape[1] for shape in network.seen}) <= 2
    assert found.alignment is not None
    np.testing.assert_allclose(found.alignment, [[np.arange(frames)] * 2])


def test_the_networks_own_limits_hold_as_well() -> None:
    network = Echo({"batch": (1, 4), "frames": (1, 8), "tokens": (1, 16)})
    logits = BoundaryLogits(network, Windows(frames=20, overlap=6))
    logits.compute(np.zeros((50, 2), np.float32), [sentence(1)])
    assert logits.rows == 4
    assert {shape[1] for shape in network.seen} == {8}


def test_tokens_are_gathered_into_words() -> None:
    logits = BoundaryLogits(Echo(), Windows())
    text = EncodedSentence(
        "pancakes", np.ones((4, 3)), np.ones(3), (), ("pancakes",), (-1, 0, 0, -1)
    )
    features = np.full((5, 2), 0.25, np.float32)
    found = word_alignment(
        logits.compute(features, [text], alignment=True), 0, text, np.arange(5.0)
    )
    assert found is not None
    assert found.words == ("pancakes",)
    np.testing.assert_allclose(found.weights, [[0.5] * 5])
    assert word_alignment(logits.compute(features, [text]), 0, text, np.arange(5.0)) is None


def test_a_network_without_alignment_says_so() -> None:
    mute = Echo()
    del mute.outputs["alignment"]
    with pytest.raises(NetworkError, match="alignment"):
        BoundaryLogits(mute, Windows()).compute(
            np.ones((3, 2), np.float32), [sentence(1)], alignment=True
        )
    assert mute.seen == []


def test_an_alignment_of_fewer_tokens_is_refused() -> None:
    class Short(Echo):
        def run(
            self, inputs: Mapping[str, Array], outputs: Collection[str] | None = None
        ) -> dict[str, Array]:
            found = super().run(inputs, outputs)
            return found | {"alignment": found["alignment"][:, :1]}

    with pytest.raises(NetworkError, match=r"\(1, 1, 3\), not \(1, 2, 3\)"):
        BoundaryLogits(Short(), Windows()).compute(
            np.ones((3, 2), np.float32), [sentence(2)], alignment=True
        )


def test_the_alignment_is_asked_for_only_where_it_is_wanted() -> None:
    network = Echo()
    logits = BoundaryLogits(network, Windows())
    for alignment in (False, True):
        logits.compute(np.ones((3, 2), np.float32), [sentence(1)], alignment=alignment)
    assert network.asked == [
        ("start_logits", "end_logits"),
        ("start_logits", "end_logits", "alignment"),
    ]


def test_without_limits_many_sentences_go_together() -> None:
    assert BoundaryLogits(Echo(), Windows()).rows == 32


def test_windows_that_are_equal_run_once() -> None:
    network = Echo()
    features = np.repeat(np.array([[1.0, 0.0], [2.0, 0.0]], np.float32), [1000, 500], axis=0)
    logits = BoundaryLogits(network, Windows(frames=20, overlap=6))
    found = logits.compute(features, [sentence(2)])
    np.testing.assert_allclose(found.starts, [[1.0] * 1000 + [2.0] * 500])
    np.testing.assert_allclose(found.ends, [[2] * 1500])
    # One before, one or two across, one after.
    assert len(network.seen) <= 4
