"""Capsule alignment by dynamic routing, equations (7) to (11).

As printed, routing cannot see the sentence: votes do not depend on the token, logits start at
zero, and the agreement (11) adds the same number for every frame, so every frame couples alike
and another sentence changes nothing. The default ``sentence`` agreement mends that and nothing
else: logits start at the fit of vote and token, and the agreement holds a frame's vote against
what the token's capsule gathered *and* the token itself. ``printed`` and ``votes`` (the classic
agreement of vote and capsule) stay selectable for study.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vtloc.model.numerics import masked_softmax, squash

if TYPE_CHECKING:
    from vtloc.model.config import Agreement


@dataclass(frozen=True, slots=True)
class Routing:
    """What routing found.

    Attributes:
        capsules: v_j, one vector a capsule and token: [B, capsules, N, capsule_dim].
        coupling: c_ij of the last iteration: [B, capsules, T, N]; over the real tokens of a
            real frame it sums to one, and it is zero on padding frames.
        alignment: A, the coupling's mean over the capsules: [B, N, T].
        read_back: Each frame's mixture of the capsules it couples with: [B, T, hidden].
        memory: Each token's capsules in the hidden width: [B, N, hidden].
    """

    capsules: Tensor
    coupling: Tensor
    alignment: Tensor
    read_back: Tensor
    memory: Tensor


class CapsuleRouting(nn.Module):
    """Routes frames to tokens, in several capsules at once.

    Args:
        width: Channels of frames and tokens.
        capsules: How many capsules route side by side, each with votes of its own.
        capsule_dim: Width of a vote.
        iterations: R, unrolled.
        agreement: How logits grow; see the module.
    """

    def __init__(
        self, width: int, *, capsules: int, capsule_dim: int, iterations: int, agreement: Agreement
    ) -> None:
        super().__init__()
        self.capsules = capsules
        self.capsule_dim = capsule_dim
        self.iterations = iterations
        self.agreement = agreement
        self.vote = nn.Linear(width, capsules * capsule_dim)
        self.key = nn.Linear(width, capsules * capsule_dim)
        self.output = nn.Linear(capsules * capsule_dim, width)

    def forward(
        self, frames: Tensor, frame_mask: Tensor, tokens: Tensor, token_mask: Tensor
    ) -> Routing:
        """Route.

        Args:
            frames: [B, T, width].
            frame_mask: [B, T], true for real frames.
            tokens: [B, N, width].
            token_mask: [B, N], true for real tokens.
        """
        votes = self._split(self.vote(frames))  # (7) [B, K, T, D]
        keys = self._split(self.key(tokens))  # [B, K, N, D]
        real_tokens = token_mask[:, None, None, :]
        real_frames = frame_mask[:, None, :, None].to(votes.dtype)
        scale = self.capsule_dim**-0.5

        fit = torch.matmul(votes * scale, keys.transpose(-1, -2))
        logits = fit if self.agreement == "sentence" else torch.zeros_like(fit)
        coupling, gathered = self._couple(logits, votes, real_tokens, real_frames)
        for _ in range(self.iterations - 1):
            logits = logits + self._agree(votes * scale, keys, gathered, fit)
            coupling, gathered = self._couple(logits, votes, real_tokens, real_frames)

        real_keys = token_mask[:, None, :, None].to(gathered.dtype)
        gathered = gathered * real_keys
        alignment = coupling.mean(dim=1).transpose(1, 2)
        alignment = alignment * token_mask.unsqueeze(-1).to(alignment.dtype)
        # A frame takes back what its tokens stand for: what was gathered, and the tokens.
        mixture = torch.matmul(coupling, gathered + keys * real_keys)
        return Routing(
            capsules=gathered,
            coupling=coupling,
            alignment=alignment,
            read_back=self.output(self._merge(mixture)),
            memory=self.output(self._merge(gathered)),
        )

    @staticmethod
    def _couple(
        logits: Tensor, votes: Tensor, real_tokens: Tensor, real_frames: Tensor
    ) -> tuple[Tensor, Tensor]:
        coupling = masked_softmax(logits, real_tokens) * real_frames  # (8)
        summed = torch.matmul(coupling.transpose(-1, -2), votes)  # (9)
        return coupling, squash(summed)  # (10)

    def _agree(self, votes: Tensor, keys: Tensor, gathered: Tensor, fit: Tensor) -> Tensor:
        if self.agreement == "printed":  # (11): no frame in it
            return (gathered * keys).sum(dim=-1).unsqueeze(-2)
        agreement = torch.matmul(votes, gathered.transpose(-1, -2))
        return agreement + fit if self.agreement == "sentence" else agreement

    def _split(self, values: Tensor) -> Tensor:
        return torch.unflatten(values, -1, (self.capsules, self.capsule_dim)).transpose(1, 2)

    @staticmethod
    def _merge(values: Tensor) -> Tensor:
        return values.transpose(1, 2).flatten(2)
