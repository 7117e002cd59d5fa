"""The localizer network over videos longer than it takes, for sentences of several lengths."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from vtloc_runtime.bundle.manifest import Windows
from vtloc_runtime.localize.text_encoder import EncodedSentence
from vtloc_runtime.localize.windowed_logits import BoundaryLogits
from vtloc_runtime.networks.interface import Array, Network, TensorSpec


class Echo(Network):
    """Says each frame's first feature as start, and the sentence's real tokens as end."""

    def __init__(self, limits: Mapping[str, tuple[int, int]] | None = None) -> None:
        self.seen: list[tuple[int, ...]] = []
        self.name, self.backend, self.outputs = "localizer", "echo", {}
        self.inputs = {
            "features": TensorSpec("features", "float32", ("batch", "frames", 2), limits),
            "tokens": TensorSpec("tokens", "float16", ("batch", "tokens", 3), limits),
        }

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        self.seen.append(inputs["features"].shape)
        assert inputs["tokens"].dtype == np.float16
        starts = inputs["features"][..., 0]
        ends = np.zeros_like(starts) + inputs["token_mask"].sum(axis=1, keepdims=True)
        return {"start_logits": starts, "end_logits": ends}


def sentence(tokens: int) -> EncodedSentence:
    return EncodedSentence("words", np.ones((tokens, 3)), np.ones(3), ())


@pytest.mark.parametrize("frames", [1, 20, 21, 95])
def test_every_frame_keeps_its_own_logits_across_windows(frames: int) -> None:
    network = Echo()
    features = np.stack([np.arange(frames), np.zeros(frames)], axis=1).astype(np.float32)
    logits = BoundaryLogits(network, Windows(frames=20, overlap=6))
    starts, ends = logits.of(features, [sentence(2), sentence(5)])
    np.testing.assert_allclose(starts, [np.arange(frames)] * 2)
    np.testing.assert_allclose(ends, [[2] * frames, [5] * frames])
    assert {shape[1] for shape in network.seen} == {min(frames, 20)}


def test_the_networks_own_limits_hold_as_well() -> None:
    network = Echo({"batch": (1, 4), "frames": (1, 8), "tokens": (1, 16)})
    logits = BoundaryLogits(network, Windows(frames=20, overlap=6))
    logits.of(np.zeros((50, 2), np.float32), [sentence(1)])
    assert logits.rows == 4
    assert {shape[1] for shape in network.seen} == {8}


def test_without_limits_many_sentences_go_together() -> None:
    assert BoundaryLogits(Echo(), Windows()).rows == 32
