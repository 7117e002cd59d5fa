"""Equations (7) to (11), by plain loops, in the printed and in the chosen form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from vtloc.model.config import Agreement, Coupling
from vtloc.model.routing import CapsuleRouting

FRAMES, TOKENS, WIDTH, DIM = 5, 3, 8, 4


def couple(logits: np.ndarray, coupling: Coupling) -> np.ndarray:
    if coupling == "frames":
        return np.array([np.exp(column) / np.exp(column).sum() for column in logits.T]).T
    if coupling == "independent":
        return 1 / (1 + np.exp(-logits))
    return np.array([np.exp(row) / np.exp(row).sum() for row in logits])  # (8)


def route(
    votes: np.ndarray,
    keys: np.ndarray,
    agreement: Agreement,
    rounds: int,
    shared: Coupling = "tokens",
) -> np.ndarray:
    """The coupling [T, N] of one capsule, by loops."""
    scale = 1 / math.sqrt(DIM)
    fit = np.array([[vote @ key * scale for key in keys] for vote in votes])
    logits = fit.copy() if agreement == "sentence" else np.zeros_like(fit)
    for step in range(rounds):
        coupling = couple(logits, shared)
        for token, key in enumerate(keys):
            summed = sum(coupling[i, token] * vote for i, vote in enumerate(votes))  # (9)
            length = np.linalg.norm(summed)
            capsule = length**2 / (1 + length**2) * summed / length  # (10)
            if step == rounds - 1:
                continue
            for frame, vote in enumerate(votes):
                logits[frame, token] += {
                    "printed": capsule @ key,  # (11)
                    "votes": vote @ capsule * scale,
                    "sentence": vote @ (capsule + key) * scale,
                }[agreement]
    return coupling


def build(
    agreement: Agreement, capsules: int = 2, rounds: int = 3, coupling: Coupling = "tokens"
) -> CapsuleRouting:
    torch.manual_seed(1)
    return CapsuleRouting(
        WIDTH,
        capsules=capsules,
        capsule_dim=DIM,
        iterations=rounds,
        agreement=agreement,
        coupling=coupling,
    ).double()


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    frames = torch.randn(1, FRAMES, WIDTH, generator=generator, dtype=torch.float64)
    return frames, torch.randn(1, TOKENS, WIDTH, generator=generator, dtype=torch.float64)


ALL_FRAMES = torch.ones(1, FRAMES, dtype=torch.bool)
ALL_TOKENS = torch.ones(1, TOKENS, dtype=torch.bool)


@pytest.mark.parametrize("agreement", ["sentence", "printed", "votes"])
@pytest.mark.parametrize("coupling", ["tokens", "frames", "independent"])
@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_routing_is_equations_7_to_11(
    agreement: Agreement, rounds: int, coupling: Coupling
) -> None:
    routing = build(agreement, rounds=rounds, coupling=coupling)
    frames, tokens = inputs()
    found = routing(frames, ALL_FRAMES, tokens, ALL_TOKENS)
    votes = routing.vote(frames)[0].detach().numpy().reshape(FRAMES, 2, DIM)
    keys = routing.key(tokens)[0].detach().numpy().reshape(TOKENS, 2, DIM)
    expected = [route(votes[:, k], keys[:, k], agreement, rounds, coupling) for k in range(2)]
    assert np.allclose(found.coupling[0].detach().numpy(), expected, atol=1e-6)
    alignment = found.alignment[0].detach().numpy()
    assert np.allclose(alignment, np.mean(expected, axis=0).T, atol=1e-6)


def test_as_printed_every_frame_couples_alike() -> None:
    found = build("printed")(inputs()[0], ALL_FRAMES, inputs()[1], ALL_TOKENS).alignment
    assert torch.allclose(found, found[..., :1].expand_as(found))


def test_the_default_couples_each_frame_by_the_sentence() -> None:
    routing = build("sentence")
    frames, tokens = inputs()
    found = routing(frames, ALL_FRAMES, tokens, ALL_TOKENS).alignment
    other = routing(frames, ALL_FRAMES, tokens.flip(0) * -1, ALL_TOKENS).alignment
    assert found.std(dim=-1).min() > 1e-3
    assert not torch.allclose(found, other, atol=1e-3)


def test_alignments_of_a_frame_sum_to_one_over_real_tokens() -> None:
    frames, tokens = inputs()
    frame_mask = torch.tensor([[True, True, True, False, False]])
    token_mask = torch.tensor([[True, True, False]])
    found = build("sentence")(frames, frame_mask, tokens, token_mask).alignment
    assert torch.allclose(found.sum(dim=1), frame_mask.double())
    assert torch.equal(found[:, 2], torch.zeros(1, FRAMES, dtype=torch.float64))


def test_a_token_is_shared_out_among_real_frames_where_the_frames_are_summed() -> None:
    frames, tokens = inputs()
    frame_mask = torch.tensor([[True, True, True, False, False]])
    token_mask = torch.tensor([[True, True, False]])
    found = build("sentence", coupling="frames")(frames, frame_mask, tokens, token_mask).alignment
    assert torch.allclose(found.sum(dim=2), token_mask.double())
    assert torch.equal(found[..., 3:], torch.zeros(1, TOKENS, 2, dtype=torch.float64))


@pytest.mark.parametrize("copies", [2, 8])
def test_what_a_frame_takes_back_does_not_shrink_with_the_video(copies: int) -> None:
    """Shared out among more frames, a token still says as much to each."""
    frames, tokens = inputs()
    routing = build("sentence", coupling="frames")
    longer = torch.ones(1, FRAMES * copies, dtype=torch.bool)
    short = routing(frames, ALL_FRAMES, tokens, ALL_TOKENS)
    long = routing(frames.repeat(1, copies, 1), longer, tokens, ALL_TOKENS)
    assert torch.allclose(long.read_back[:, :FRAMES], short.read_back)


def test_capsules_of_real_tokens_lie_within_the_unit_ball() -> None:
    frames, tokens = inputs()
    found = build("sentence")(frames * 50, ALL_FRAMES, tokens, ALL_TOKENS).capsules
    assert found.norm(dim=-1).max() < 1
