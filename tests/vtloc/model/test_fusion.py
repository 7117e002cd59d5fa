"""Attention, pooling, similarity curves and the head, each against its formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vtloc.model.attention import Attention
from vtloc.model.fusion import Fusion, pool_sentence, similarity_curves
from vtloc.model.head import LocalizationHead


def test_attention_equals_pytorchs_own() -> None:
    torch.manual_seed(0)
    ours = Attention(8, 2)
    theirs = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        parts = (ours.query, ours.key, ours.value)
        theirs.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
        theirs.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
        theirs.out_proj.weight.copy_(ours.output.weight)
        theirs.out_proj.bias.copy_(ours.output.bias)
    queries, memory = torch.randn(2, 5, 8), torch.randn(2, 3, 8)
    mask = torch.tensor([[True, True, True], [True, False, False]])
    found, weights = ours(queries, memory, mask)
    expected, averaged = theirs(queries, memory, memory, key_padding_mask=~mask)
    assert torch.allclose(found, expected, atol=1e-6)
    assert torch.allclose(weights.mean(dim=1), averaged, atol=1e-6)


@pytest.mark.parametrize(("pooling", "expected"), [("mean", [1.5, 4.0]), ("last", [2.0, 4.0])])
def test_a_sentence_is_the_mean_or_the_last_of_its_real_tokens(
    pooling: str, expected: list[float]
) -> None:
    tokens = torch.tensor([[1.0, 2.0, 9.0], [4.0, 9.0, 9.0]]).unsqueeze(-1)
    mask = torch.tensor([[True, True, False], [True, False, False]])
    assert pool_sentence(tokens, mask, pooling).flatten().tolist() == pytest.approx(expected)


def test_the_last_token_of_a_full_sentence_is_found() -> None:
    tokens = torch.arange(3.0).reshape(1, 3, 1)
    assert pool_sentence(tokens, torch.ones(1, 3, dtype=torch.bool), "last").item() == 2.0


def test_similarity_curves_are_cosines_to_the_sentence_and_the_best_real_token() -> None:
    generator = np.random.default_rng(0)
    frames, tokens = generator.normal(size=(4, 6)), generator.normal(size=(3, 6))
    sentence = generator.normal(size=6)

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    expected = [[cosine(f, sentence), max(cosine(f, t) for t in tokens[:2])] for f in frames]
    found = similarity_curves(
        torch.tensor(frames)[None],
        torch.tensor(tokens)[None],
        torch.tensor([[True, True, False]]),
        torch.tensor(sentence)[None],
    )
    assert np.allclose(found[0].numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["multiplicative", "additive"])
@pytest.mark.parametrize("channels", [True, False])
def test_every_fusion_keeps_the_shape(kind, channels: bool) -> None:
    fusion = Fusion(
        8, kind=kind, similarity_channels=channels, standardize_similarity=True, dropout=0.0
    )
    found = fusion(
        torch.randn(2, 5, 8), torch.randn(2, 5, 8), torch.randn(2, 5, 2), torch.ones(2, 5) > 0
    )
    assert found.shape == (2, 5, 8)


def test_the_head_is_equation_13() -> None:
    head = LocalizationHead(6, dropout=0.15).double().eval()
    frames = torch.randn(1, 4, 6, dtype=torch.float64)
    first, second = (
        [p.detach().numpy() for p in layer.parameters()] for layer in (head.hidden, head.output)
    )
    hidden = np.maximum(frames[0].numpy() @ first[0].T + first[1], 0)
    expected = hidden @ second[0].T + second[1]
    start, end = head(frames, torch.ones(1, 4, dtype=torch.bool))
    assert np.allclose(start[0].detach().numpy(), expected[:, 0], atol=1e-5)
    assert np.allclose(end[0].detach().numpy(), expected[:, 1], atol=1e-5)


def test_padding_frames_can_never_win() -> None:
    start, end = LocalizationHead(6, 0.0)(torch.randn(1, 3, 6), torch.tensor([[1, 1, 0]]) > 0)
    assert start[0, 2] <= -1e4
    assert end[0, 2] <= -1e4
